// A sum of products as tensor cores make it: all terms shifted to the largest's exponent, what
// falls below F fraction bits cut off toward zero, the rest added as integers.

// The terms, of P mantissa bits, in two's complement, in units of 2^(largest - F).
module napier_align #(
    parameter T = 17,  // terms
    parameter P = 23,
    parameter F = 25,
    parameter W = 12
) (
    input [T-1:0] sign,
    input [T-1:0] is_zero,
    input [T*W-1:0] exponent,
    input [T*(P+1)-1:0] significand,
    output signed [W-1:0] largest,
    output [T*(F+2)-1:0] term
);
  localparam signed [W-1:0] LEAST = -(1 << (W - 1));
  // A heap: node k has the nodes 2k + 1 and 2k + 2 below it, and the larger of both.
  wire [(2*T-1)*W-1:0] heap;
  genvar i;
  generate
    for (i = 0; i < T - 1; i = i + 1) begin : larger
      wire signed [W-1:0] a = heap[(2*i+1)*W +: W];
      wire signed [W-1:0] b = heap[(2*i+2)*W +: W];
      assign heap[i*W +: W] = a > b ? a : b;
    end
    for (i = 0; i < T; i = i + 1) begin : align
      assign heap[(T-1+i)*W +: W] = is_zero[i] ? LEAST : exponent[i*W +: W];
      wire signed [W-1:0] own = exponent[i*W +: W];
      wire [W-1:0] distance = largest - own;
      wire [P:0] from = significand[i*(P+1) +: P+1];
      wire [F:0] full = F >= P ? from << (F - P) : from >> (P - F);
      wire [F:0] magnitude = is_zero[i] || distance > F ? 0 : full >> distance;
      assign term[i*(F+2) +: F+2] = sign[i] ? -{1'b0, magnitude} : {1'b0, magnitude};
    end
  endgenerate
  assign largest = heap[W-1:0];
endmodule

// Two's complement numbers of N bits, added.
module napier_tree #(
    parameter T = 17,
    parameter N = 27,
    parameter S = N + $clog2(T)
) (
    input [T*N-1:0] term,
    output reg signed [S-1:0] total
);
  integer i;
  always @* begin
    total = 0;
    for (i = 0; i < T; i = i + 1) total = total + $signed(term[i*N +: N]);
  end
endmodule

// An integer in units of 2^(largest - F) as sign, exponent and significand; zero is positive.
module napier_magnitude #(
    parameter S = 32,
    parameter F = 25,
    parameter W = 12
) (
    input signed [S-1:0] total,
    input signed [W-1:0] largest,
    output sign,
    output signed [W-1:0] exponent,
    output [S-1:0] significand,
    output is_zero
);
  wire [S-1:0] magnitude = total < 0 ? -total : total;
  wire [$clog2(S)-1:0] count;
  assign sign = total < 0;
  assign is_zero = total == 0;
  napier_normalise #(.N(S)) normalise (.in(magnitude), .out(significand), .count(count));
  assign exponent = largest + (S - 1 - F) - $signed({1'b0, count});
endmodule

// Integers: products and a sum that wraps.
module napier_integer_dot #(
    parameter L = 16,  // lanes
    parameter P = 16,  // bits of a product
    parameter A = 32
) (
    input [L*P-1:0] product,
    input signed [A-1:0] sum,
    output reg signed [A-1:0] next
);
  integer i;
  always @* begin
    next = sum;
    for (i = 0; i < L; i = i + 1) next = next + $signed(product[i*P +: P]);
  end
endmodule
