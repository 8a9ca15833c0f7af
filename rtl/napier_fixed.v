// A product added to a fixed-point sum that holds every product in full and wraps: a Kulisch
// accumulator. What is no finite number adds nothing.
module napier_fixed_step #(
    parameter P = 7,     // mantissa bits of the product
    parameter LOW = -18, // the sum's unit is 2^LOW, which every product is a multiple of
    parameter A = 53,    // bits of the sum
    parameter W = 12
) (
    input sign,
    input signed [W-1:0] exponent,
    input [P:0] significand,
    input is_zero,
    input is_infinite,
    input is_nan,
    input signed [A-1:0] sum,
    output signed [A-1:0] next
);
  // Of the smallest products the significand ends in zeros, which the shift to the right drops.
  wire [W-1:0] places = exponent - LOW;
  wire [A+P-1:0] shifted = {{(A - 1) {1'b0}}, significand} << places;
  wire [A-1:0] magnitude = is_zero || is_infinite || is_nan ? 0 : shifted[A+P-1:P];
  assign next = sign ? sum - magnitude : sum + magnitude;
endmodule
