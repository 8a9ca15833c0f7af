// A number into a format: rounded once, saturated or not.
module napier_encode #(
    parameter E = 8,
    parameter M = 23,
    parameter BIAS = 127,
    parameter SPECIALS = 0,    // 0 ieee, 1 fn, 2 fnuz, 3 none
    parameter SUBNORMALS = 1,  // 0: numbers below the normal ones must not occur
    parameter TRUNCATE = 0,    // 1 toward zero, 0 to nearest even
    parameter SATURATE = 1,    // 0: overflows go to infinity, or NaN where there is none
    parameter P = 23,          // the significand has P + 1 bits, the top one set
    parameter W = 12
) (
    input sign,
    input signed [W-1:0] exponent,
    input [P:0] significand,
    input is_zero,
    input is_infinite,
    input is_nan,
    output [E+M:0] code
);
  localparam Q = P > M ? P : M;
  localparam D = Q - M + 2;  // bits that are dropped of a normal number
  localparam [E+M-1:0] ALL = {(E + M) {1'b1}};
  localparam [E+M-1:0] MAX = SPECIALS == 0 ? (ALL >> M << M) - 1 : SPECIALS == 1 ? ALL - 1 : ALL;
  localparam [E+M:0] NAN = SPECIALS == 0 ? (MAX + 1) | (1 << (M - 1)) :
                           SPECIALS == 1 ? ALL : SPECIALS == 2 ? 1 << (E + M) : 0;
  localparam V = W + M + 2;

  wire [Q+2:0] full = {significand, {(Q - P + 2) {1'b0}}};
  wire signed [W:0] below = 1 - BIAS - exponent;
  wire is_small = SUBNORMALS != 0 && below > 0;
  // Beyond Q + 3 places all that is left is that something was there.
  wire [W-1:0] shift = !is_small ? 0 : below > Q + 3 ? Q + 3 : below[W-1:0];
  wire [Q+2:0] shifted = full >> shift;
  wire lost = (shifted << shift) != full;
  wire [M:0] kept = shifted[Q+2:D];
  wire half = shifted[D-1];
  wire rest = (|shifted[D-2:0]) | lost;
  wire signed [W:0] field = is_small ? 1 : exponent + BIAS;
  wire signed [V-1:0] base = ($signed(field - 1) <<< M) + $signed({1'b0, kept});
  wire up = TRUNCATE == 0 && half && (rest || base[0]);
  wire signed [V-1:0] rounded = base + $signed({1'b0, up});
  wire overflow = rounded > $signed({1'b0, MAX});

  // Truncation stops at the largest finite number; an infinity was none before.
  wire [E+M:0] beyond = SATURATE || (TRUNCATE && !is_infinite) || SPECIALS == 3 ? {sign, MAX} :
                        SPECIALS == 0 ? {sign, MAX} + 1 : NAN;
  wire [E+M:0] number = is_zero ? {sign, {(E + M) {1'b0}}} :
                        overflow || is_infinite ? beyond : {sign, rounded[E+M-1:0]};
  assign code = is_nan ? NAN : SPECIALS == 2 && number[E+M-1:0] == 0 ? 0 : number;
endmodule
