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

module napier_integer_step #(
    parameter N = 8,
    parameter A = 32
) (
    input signed [N-1:0] x,
    input signed [N-1:0] w,
    input signed [A-1:0] sum,
    output signed [A-1:0] next
);
  assign next = sum + x * w;
endmodule
