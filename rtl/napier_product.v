// Products of two significands with their exponents; the result's top bit is set.

// Exact.
module napier_exact_product #(
    parameter MX = 7,
    parameter MW = 7,
    parameter W = 12
) (
    input signed [W-1:0] x_exponent,
    input signed [W-1:0] w_exponent,
    input [MX:0] x,
    input [MW:0] w,
    output signed [W-1:0] exponent,
    output [MX+MW+1:0] significand
);
  wire [MX+MW+1:0] product = x * w;
  wire carry = product[MX+MW+1];
  assign exponent = x_exponent + w_exponent + $signed({1'b0, carry});
  assign significand = carry ? product : product << 1;
endmodule

// The sum of the two bit patterns, exponents and mantissas as one integer, plus 2^-L: L-Mul's adder
// reading (arXiv 2410.00907, Fig. 2), Mitchell's multiplier without offset (L = 0).
module napier_pattern_product #(
    parameter MX = 7,
    parameter MW = 7,
    parameter K = 7,  // mantissa bits that are kept
    parameter L = 4,
    parameter P = 7,  // mantissa bits of the sum: no fewer than are kept, and L
    parameter W = 12
) (
    input signed [W-1:0] x_exponent,
    input signed [W-1:0] w_exponent,
    input [MX:0] x,
    input [MW:0] w,
    output signed [W-1:0] exponent,
    output [P:0] significand
);
  localparam KX = K < MX ? K : MX;
  localparam KW = K < MW ? K : MW;
  localparam [W+P-1:0] OFFSET = L == 0 ? 0 : 1 << (P - L);
  wire [P-1:0] xm, wm;
  generate
    if (KX == 0) assign xm = 0;
    else if (KX == P) assign xm = x[MX-1:MX-KX];
    else assign xm = {x[MX-1:MX-KX], {(P - KX) {1'b0}}};
    if (KW == 0) assign wm = 0;
    else if (KW == P) assign wm = w[MW-1:MW-KW];
    else assign wm = {w[MW-1:MW-KW], {(P - KW) {1'b0}}};
  endgenerate
  wire [W+P-1:0] sum = {x_exponent, xm} + {w_exponent, wm} + OFFSET;
  assign exponent = sum[W+P-1:P];
  assign significand = {1'b1, sum[P-1:0]};
endmodule

// 1 + xm + wm + 2^-L, as L-Mul's Eq. 1 has it.
module napier_formula_product #(
    parameter MX = 7,
    parameter MW = 7,
    parameter K = 7,
    parameter L = 4,
    parameter P = 7,
    parameter W = 12
) (
    input signed [W-1:0] x_exponent,
    input signed [W-1:0] w_exponent,
    input [MX:0] x,
    input [MW:0] w,
    output signed [W-1:0] exponent,
    output [P+1:0] significand
);
  localparam KX = K < MX ? K : MX;
  localparam KW = K < MW ? K : MW;
  localparam [P+1:0] CONSTANT = (1 << P) + (L == 0 ? 0 : 1 << (P - L));
  wire [P+1:0] xm, wm;
  generate
    if (KX == 0) assign xm = 0;
    else assign xm = x[MX-1:MX-KX] << (P - KX);
    if (KW == 0) assign wm = 0;
    else assign wm = w[MW-1:MW-KW] << (P - KW);
  endgenerate
  wire [P+1:0] sum = xm + wm + CONSTANT;  // in [1, 4)
  assign exponent = x_exponent + w_exponent + $signed({1'b0, sum[P+1]});
  assign significand = sum[P+1] ? sum : sum << 1;
endmodule

// Nothing but the addition: sign, magnitudes added modulo 2^(N-1), the bias and the offset one
// constant. What L-Mul's paper counts: no zero, subnormal, overflow, infinity or NaN.
module napier_raw_adder #(
    parameter N = 16,
    parameter [N-2:0] OFFSET = 0
) (
    input [N-1:0] x,
    input [N-1:0] w,
    output [N-1:0] product
);
  wire [N-2:0] sum = x[N-2:0] + w[N-2:0] + OFFSET;
  assign product = {x[N-1] ^ w[N-1], sum};
endmodule
