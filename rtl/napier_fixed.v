// Fixed-point sums that hold every product in full and wrap: Kulisch accumulators.

// A product's magnitude at its place. What is no finite number is nothing.
module napier_fixed_place #(
    parameter P = 7,     // mantissa bits of the product
    parameter LOW = -18, // the sum's unit is 2^LOW, which every product is a multiple of
    parameter A = 53,    // bits of the sum
    parameter W = 12
) (
    input signed [W-1:0] exponent,
    input [P:0] significand,
    input is_zero,
    input is_infinite,
    input is_nan,
    output [A-1:0] magnitude
);
  // Of the smallest products the significand ends in zeros, which the shift to the right drops.
  wire [W-1:0] places = exponent - LOW;
  wire [A+P-1:0] shifted = {{(A - 1) {1'b0}}, significand} << places;
  assign magnitude = is_zero || is_infinite || is_nan ? 0 : shifted[A+P-1:P];
endmodule

module napier_fixed_step #(
    parameter A = 53
) (
    input sign,
    input [A-1:0] magnitude,
    input signed [A-1:0] sum,
    output signed [A-1:0] next
);
  assign next = sign ? sum - magnitude : sum + magnitude;
endmodule

// As many products at a time, each a sign above its magnitude.
module napier_fixed_dot #(
    parameter L = 16,
    parameter A = 53
) (
    input [L*(A+1)-1:0] term,
    input signed [A-1:0] sum,
    output reg signed [A-1:0] next
);
  integer i;
  always @* begin
    next = sum;
    for (i = 0; i < L; i = i + 1) begin
      next = term[i*(A+1)+A] ? next - term[i*(A+1) +: A] : next + term[i*(A+1) +: A];
    end
  end
endmodule
