// The sum of two numbers for one later rounding: single path, the smaller aligned to the larger,
// what falls off kept as one sticky bit, normalised after a count of leading zeros.
module napier_add #(
    parameter PA = 23,
    parameter PB = 15,
    parameter Q = 23,  // the larger of both
    parameter W = 12
) (
    input a_sign,
    input signed [W-1:0] a_exponent,
    input [PA:0] a,
    input a_is_zero,
    input a_is_infinite,
    input a_is_nan,
    input b_sign,
    input signed [W-1:0] b_exponent,
    input [PB:0] b,
    input b_is_zero,
    input b_is_infinite,
    input b_is_nan,
    output sign,
    output signed [W-1:0] exponent,
    output [Q+4:0] significand,
    output is_zero,
    output is_infinite,
    output is_nan
);
  localparam signed [W-1:0] LEAST = -(1 << (W - 1));
  // A zero is smaller than every number.
  wire [Q:0] a_full = a_is_zero ? 0 : a << (Q - PA);
  wire [Q:0] b_full = b_is_zero ? 0 : b << (Q - PB);
  wire signed [W-1:0] a_order = a_is_zero ? LEAST : a_exponent;
  wire signed [W-1:0] b_order = b_is_zero ? LEAST : b_exponent;
  wire a_larger = a_order > b_order || (a_order == b_order && a_full >= b_full);
  wire [Q:0] upper = a_larger ? a_full : b_full;
  wire [Q:0] lower = a_larger ? b_full : a_full;
  wire [W-1:0] distance = a_larger ? a_order - b_order : b_order - a_order;
  wire far = distance > Q + 3;
  wire [Q+3:0] lower_full = {lower, 3'b0};
  wire [Q+3:0] aligned = far ? 0 : lower_full >> distance;
  wire lost = far ? lower != 0 : (aligned << distance) != lower_full;
  wire subtract = a_sign != b_sign;
  wire [Q+4:0] addend = {1'b0, aligned[Q+3:1], aligned[0] | lost};
  wire [Q+4:0] sum = subtract ? {1'b0, upper, 3'b0} - addend : {1'b0, upper, 3'b0} + addend;

  assign is_nan = a_is_nan || b_is_nan || (a_is_infinite && b_is_infinite && subtract);
  assign is_infinite = a_is_infinite || b_is_infinite;
  assign is_zero = sum == 0 && !is_infinite;

  assign sign = is_infinite ? (a_is_infinite ? a_sign : b_sign) :
                sum == 0 ? a_sign && b_sign :  // x + -x is +0
                a_larger ? a_sign : b_sign;

  wire [$clog2(Q+5)-1:0] count;
  napier_normalise #(.N(Q + 5)) normalise (.in(sum), .out(significand), .count(count));
  assign exponent = (a_larger ? a_order : b_order) + 1 - $signed({1'b0, count});
endmodule
