// Two's complement integers, to compare with: a product, and a step of a sum that wraps.
module napier_integer_multiply #(
    parameter N = 8
) (
    input signed [N-1:0] x,
    input signed [N-1:0] w,
    output signed [2*N-1:0] product
);
  assign product = x * w;
endmodule

// A number into an integer: to the nearest, ties to even, saturated; 0 of what is no number.
module napier_to_integer #(
    parameter N = 8,
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
  wire [N:0] limit = (1 << (N - 1)) - !sign;
  wire [N:0] magnitude = beyond || rounded > limit ? limit : rounded;
  wire [N-1:0] number = sign ? -magnitude : magnitude;
  assign code = is_zero || is_nan ? 0 : number;
endmodule
