// A code of a floating-point format, taken apart: (-1)^sign * significand * 2^(exponent - M), the
// significand's top bit set unless the number is zero, infinite or not one.
module napier_decode #(
    parameter E = 8,           // exponent bits, at least 1
    parameter M = 23,          // mantissa bits; 0 where there are no specials, and subnormals kept
    parameter BIAS = 127,
    parameter SPECIALS = 0,    // 0 ieee, 1 fn, 2 fnuz, 3 none
    parameter SUBNORMALS = 1,  // 0 none, 1 keep, 2 flush to zero, 3 take their bits as normal ones'
    parameter W = 12           // bits of the exponent, signed
) (
    input [E+M:0] code,
    output sign,
    output signed [W-1:0] exponent,
    output [M:0] significand,
    output is_zero,
    output is_infinite,
    output is_nan
);
  wire [E-1:0] field = code[E+M-1:M];
  wire [M:0] mantissa = code[M:0] & ((1 << M) - 1);  // and a zero, so that there is a bit
  wire top = &field;
  assign sign = code[E+M];
  assign is_infinite = SPECIALS == 0 && top && mantissa == 0;
  assign is_nan = SPECIALS == 0 ? top && mantissa != 0 :
                  SPECIALS == 1 ? &code[E+M-1:0] :
                  SPECIALS == 2 ? sign && code[E+M-1:0] == 0 : 1'b0;

  wire low = field == 0;
  assign is_zero = code[E+M-1:0] == 0 || (low && SUBNORMALS == 2);
  generate
    if (M == 0) begin : power
      assign significand = 1'b1;
      assign exponent = $signed({1'b0, field}) - BIAS;
    end else if (SUBNORMALS == 1) begin : keep
      wire [M:0] shifted;
      wire [$clog2(M+1)-1:0] count;
      napier_normalise #(.N(M + 1)) normalise (
          .in(mantissa), .out(shifted), .count(count));
      assign significand = low ? shifted : mantissa | (1 << M);
      assign exponent = low ? 1 - BIAS - $signed({1'b0, count}) : $signed({1'b0, field}) - BIAS;
    end else begin : take
      assign significand = mantissa | (1 << M);
      assign exponent = $signed({1'b0, field}) - BIAS;
    end
  endgenerate
endmodule
