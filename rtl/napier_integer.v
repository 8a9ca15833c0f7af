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

// An integer as a number: the significand's top bit is set, unless it is zero.
module napier_integer_number #(
    parameter N = 8,
    parameter SIGNED = 1,
    parameter W = 12,
    parameter M = N - 1 - SIGNED  // a signed one's last bit would be 0: the least is a power of two
) (
    input [N-1:0] code,
    output sign,
    output signed [W-1:0] exponent,
    output [M:0] significand,
    output is_zero
);
  wire [$clog2(N)-1:0] count;
  wire [N-1:0] shifted;
  assign sign = SIGNED && code[N-1];
  wire [N-1:0] magnitude = sign ? -code : code;
  napier_normalise #(.N(N)) normalise (.in(magnitude), .out(shifted), .count(count));
  assign significand = shifted[N-1:N-1-M];
  assign exponent = N - 1 - $signed({1'b0, count});
  assign is_zero = code == 0;
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

// An integer sum times FACTOR 2^-SHIFT, of which both are inputs, into an integer: to the nearest,
// ties to even, saturated. HAWQ-V3's requantisation by a dyadic number (arXiv 2011.10680).
module napier_requantise #(
    parameter N = 8,
    parameter SYMMETRIC = 0,  // 1: the least is -(2^(N-1) - 1)
    parameter S = 32,  // bits of the sum
    parameter F = 32,  // of the factor, which has no sign
    parameter B = 6  // of the shift
) (
    input signed [S-1:0] sum,
    input [F-1:0] factor,
    input [B-1:0] shift,
    output [N-1:0] code
);
  wire signed [S+F-1:0] product = sum * $signed({1'b0, factor});
  // Rounded down, and below it the first bit that is lost.
  wire signed [S+F:0] scaled = $signed({product, 1'b0}) >>> shift;
  wire [S+F-1:0] below = ((1 << shift) >> 1) - 1;  // the others, where there are any
  wire up = scaled[0] && ((|(product & below)) || scaled[1]);
  wire sign = scaled[S+F];
  wire beyond = scaled[S+F:N] != {(S + F - N + 1) {sign}};
  wire signed [N:0] rounded = $signed(scaled[N:1]) + $signed({1'b0, up});
  wire signed [N:0] most = (1 << (N - 1)) - 1;
  wire signed [N:0] least = SYMMETRIC - (1 << (N - 1));
  assign code = beyond ? (sign ? least : most) :
                rounded > most ? most : rounded < least ? least : rounded;
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
