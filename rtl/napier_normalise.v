// Shifts a number left until its top bit is set, and counts by how much, by halves of what is
// left. Of zero the count means nothing.
module napier_normalise #(
    parameter N = 8,  // at least 2
    parameter C = $clog2(N)
) (
    input [N-1:0] in,
    output [N-1:0] out,
    output [C-1:0] count
);
  wire [N*(C+1)-1:0] stages;
  assign stages[N*C +: N] = in;
  assign out = stages[N-1:0];
  genvar j;
  generate
    for (j = 0; j < C; j = j + 1) begin : half
      wire [N-1:0] source = stages[N*(j+1) +: N];
      assign count[j] = source[N-1 -: (1 << j)] == 0;
      assign stages[N*j +: N] = count[j] ? source << (1 << j) : source;
    end
  endgenerate
endmodule
