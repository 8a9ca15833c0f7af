// A rank of flip-flops between two stages of a pipeline.
module napier_rank #(
    parameter N = 8
) (
    input clock,
    input [N-1:0] d,
    output reg [N-1:0] q
);
  always @(posedge clock) q <= d;
endmodule
