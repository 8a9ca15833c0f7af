// Products one by one: fused additions, as the product is not rounded again before it is added.
#include "families.hpp"

namespace napier {

const AccumulatorFamily k_plain_accumulator = {
    .name = "",
    .summary = "products are added one by one in order of k, every sum rounded into the format",
    .sum = plain_sum,
    .form =
        [](const Accumulator& accumulator) {
          return SumForm{.kind = SumForm::Kind::plain, .outer = accumulator.cast};
        },
};

}  // namespace napier
