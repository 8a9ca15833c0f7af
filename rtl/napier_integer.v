// Integers, to compare with: a product of two's complement numbers, or of one and an unsigned one.
module napier_integer_multiply #(
    parameter NX = 8,
    parameter NW = 8,
    parameter XU = 0,  // 1: x is unsigned
    parameter WU = 0
) (
    input [NX-1:0] x,
    input [NW-1:0] w,
    output signed [NX+NW-1:0] product
);
  wire signed [NX+XU-1:0] x_number = XU ? {1'b0, x} : x;
  wire signed [NW+WU-1:0] w_number = WU ? {1'b0, w} : w;
  assign product = x_number * w_number;
endmodule

// A number into an integer: to the nearest, ties to even, saturated; 0 of what is no number.
module napier_to_integer #(
    parameter N = 8,
    parameter SYMMETRIC = 0,  // 1: the least is -(2^(N-1) - 1)
    parameter P = 23,  // the significand has P + 1 bits, the top one set
    parameter W = 12
) (
    input sign,
    input signed [W-1:0] exponent,
    input [P:0] significand,
    input is_zero,
    input is_infinite,
    input is_nan,
    output [N-1:0] code
);
  localparam R = N + P + 1;  // the first of N integer bits is beyond every magnitude
  wire beyond = exponent > N - 1 || is_infinite;
  wire signed [W:0] down = N - 1 - exponent;
  wire [R-1:0] full = {significand, {N {1'b0}}};
  wire [R-1:0] shifted = full >> down[W-1:0];
  wire lost = (shifted << down[W-1:0]) != full;
  wire half = shifted[P];
  wire rest = (|shifted[P-1:0]) | lost;
  wire up = half && (rest || shifted[P+1]);
  wire [N:0] rounded = shifted[R-1:P+1] + up;
  wire [N:0] limit = (1 << (N - 1)) - !sign - (SYMMETRIC & sign);
  wire [N:0] magnitude = beyond || rounded > limit ? limit : rounded;
  wire [N-1:0] number = sign ? -magnitude : magnitude;
  assign code = is_zero || is_nan ? 0 : number;
endmodule

// A signed integer of one bit more, and the code that stands for zero, into an unsigned code.
module napier_zero_point #(
    parameter N = 8
) (
    input signed [N:0] number,
    input [N-1:0] zero,
    output [N-1:0] code
);
  wire signed [N+1:0] sum = number + $signed({2'b0, zero});
  assign code = sum < 0 ? 0 : sum[N] ? {N {1'b1}} : sum[N-1:0];
endmodule
