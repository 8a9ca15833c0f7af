// Gradients by an arithmetic's own derivative.
#include "kernels/derivative.hpp"

#include <nanobind/ndarray.h>

#include "bindings.hpp"
#include "pool.hpp"

namespace napier::python {
namespace {

using Matrix = nb::ndarray<const float, nb::ndim<2>, nb::device::cpu>;

RowReader rows_of(const Matrix& matrix) {
  return [data = matrix.data(), rows = matrix.stride(0), step = matrix.stride(1),
          columns = static_cast<int64_t>(matrix.shape(1))](int64_t row, float* to) {
    for (int64_t i = 0; i < columns; ++i) to[i] = data[row * rows + i * step];
  };
}

// at (m, n), other (k, n), gradient (m, k): out (m, n).
void derivative(const Arithmetic& arithmetic, bool of_w, Matrix at, Matrix other, Matrix gradient,
                nb::ndarray<float, nb::ndim<2>, nb::c_contig, nb::device::cpu> out) {
  const Shape shape = {static_cast<int64_t>(at.shape(0)), static_cast<int64_t>(at.shape(1)),
                       static_cast<int64_t>(other.shape(0))};
  with_pool([&](ThreadPool& pool) {
    own_derivative(arithmetic, of_w ? Side::w : Side::x, shape,
                   {rows_of(at), rows_of(other), rows_of(gradient)}, out.data(), shape.n, pool);
  });
}

}  // namespace

void bind_derivative(nb::module_& module) {
  module.def("has_own_derivative", &has_own_derivative, nb::arg("arithmetic"));
  module.def("own_derivative", &derivative, nb::arg("arithmetic"), nb::arg("of_w"),
             nb::arg("at").noconvert(), nb::arg("other").noconvert(),
             nb::arg("gradient").noconvert(), nb::arg("out").noconvert());
}

}  // namespace napier::python
