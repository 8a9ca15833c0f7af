#include "analysis/error_study.hpp"

#include <algorithm>

#include "model/coverage.hpp"
#include "napier/error.hpp"

namespace napier {
namespace {

constexpr int64_t k_row = 256;  // elements of drawn rows: what blocks and row scales see
constexpr int64_t k_dot_blocks = 32;
constexpr int64_t k_dot_rows = 16;

void progress(const ErrorStudyOptions& options, const std::string& what, size_t done, size_t all) {
  if (options.on_progress) {
    options.on_progress(what, static_cast<double>(done) / static_cast<double>(all));
  }
}

// Independent rows, one of x and one of w a block.
std::vector<OperandBlock> drawn_pairs(const OperandLaw& law, const ErrorStudyOptions& options) {
  return draw_blocks(law, std::max<int64_t>(2, options.pairs / k_row), 1, 1, k_row, options.seed);
}

}  // namespace

std::vector<OperandSource> sources_of(std::vector<CapturedMatmul> captured, bool by_role) {
  std::vector<OperandSource> sources;
  for (CapturedMatmul& matmul : captured) {
    const std::string name = by_role ? role_of(matmul.name) : matmul.name;
    auto source = std::find_if(sources.begin(), sources.end(),
                               [&](const OperandSource& s) { return s.name == name; });
    if (source == sources.end()) {
      sources.push_back({name, std::nullopt, {}});
      source = sources.end() - 1;
    }
    std::move(matmul.blocks.begin(), matmul.blocks.end(), std::back_inserter(source->blocks));
  }
  return sources;
}

void ErrorStudyOptions::check() const {
  if (pairs < 2 * k_row || pairs > int64_t{1} << 28) {
    throw Error("--pairs: " + std::to_string(pairs) + " cannot be drawn: give " +
                std::to_string(2 * k_row) + " to 268435456");
  }
  if (source_bits < 1 || source_bits > 14) {
    throw Error("--source-bits: " + std::to_string(source_bits) +
                " cannot be enumerated: give 1 to 14");
  }
  for (const int64_t length : lengths) {
    if (length < 1 || length > 1 << 16) {
      throw Error("--lengths: no dot product of " + std::to_string(length) +
                  " products is measured: give 1 to 65536");
    }
  }
  for (const int k : kept_bits) {
    if (k < 1 || k > 23) {
      throw Error("--keep: " + std::to_string(k) + " mantissa bits cannot be kept: give 1 to 23");
    }
  }
}

std::vector<ProductRow> study_products(const std::vector<NamedArithmetic>& arithmetics,
                                       const std::vector<OperandSource>& sources,
                                       const ErrorStudyOptions& options) {
  std::vector<ProductRow> rows;
  for (const OperandSource& source : sources) {
    const bool mantissas = source.law && source.law->kind == OperandLaw::Kind::mantissa;
    const std::vector<OperandBlock> drawn =
        source.law ? drawn_pairs(*source.law, options) : std::vector<OperandBlock>();
    for (const NamedArithmetic& named : arithmetics) {
      progress(options, source.name + ", " + named.name, rows.size(),
               sources.size() * arithmetics.size());
      ProductRow row{source.name, named.name, {}, false, {}};
      if (mantissas && can_enumerate(named.arithmetic)) {
        row.is_enumerated = true;
        row.errors = enumerate_products(named.arithmetic, options.source_bits);
        row.closed = closed_form(named.arithmetic, options.source_bits);
      } else {
        row.errors = measure_products(named.arithmetic, source.law ? drawn : source.blocks);
      }
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

std::vector<ProductRow> study_codes(const std::vector<NamedArithmetic>& arithmetics,
                                    const std::vector<OperandSource>& sources,
                                    const ErrorStudyOptions& options) {
  for (const NamedArithmetic& named : arithmetics) {
    if (has_few_codes(named.arithmetic)) continue;
    throw Error("'" + named.name +
                "': codes are enumerated of operands of at most 8 bits, whose products are not "
                "rounded by chance");
  }
  std::vector<ProductRow> rows;
  for (const OperandSource& source : sources) {
    for (const NamedArithmetic& named : arithmetics) {
      progress(options, source.name + ", " + named.name, rows.size(),
               sources.size() * arithmetics.size());
      const Arithmetic& arithmetic = named.arithmetic;
      std::optional<CodeShares> x, w;
      if (source.law) x = code_shares(arithmetic.x, *source.law);
      if (source.law) w = code_shares(arithmetic.w, *source.law);
      ProductRow row{source.name, named.name, {}, x && w, {}};
      if (x && w) {
        row.errors = enumerate_codes(arithmetic, independent_pairs(*x, *w));
      } else if (!source.law) {
        row.errors = measure_codes(arithmetic, source.blocks);
      } else {
        row.errors = measure_codes(arithmetic, drawn_pairs(*source.law, options));
      }
      rows.push_back(std::move(row));
    }
  }
  return rows;
}

std::vector<DotRow> study_dots(const std::vector<NamedArithmetic>& arithmetics,
                               const std::vector<OperandSource>& sources,
                               const ErrorStudyOptions& options) {
  ThreadPool pool(options.threads);
  std::vector<DotRow> rows;
  for (size_t s = 0; s < sources.size(); ++s) {
    const OperandSource& source = sources[s];
    const auto measure = [&](const std::vector<OperandBlock>& blocks) {
      for (const NamedArithmetic& named : arithmetics) {
        progress(options, source.name + ", " + named.name, s, sources.size());
        rows.push_back({source.name, named.name, blocks.empty() ? 0 : blocks.front().k,
                        measure_dots(named.arithmetic, blocks, pool)});
      }
    };
    if (!source.law) {
      measure(source.blocks);
      continue;
    }
    for (const int64_t length : options.lengths) {
      measure(draw_blocks(*source.law, k_dot_blocks, k_dot_rows, k_dot_rows, length, options.seed));
    }
  }
  return rows;
}

std::vector<OffsetRow> study_offsets(const std::vector<OperandSource>& sources,
                                     const ErrorStudyOptions& options) {
  ThreadPool pool(options.threads);
  std::vector<OffsetRow> rows;
  for (const OperandSource& source : sources) {
    progress(options, source.name, rows.size(), sources.size());
    const std::vector<OperandBlock> drawn =
        source.law
            ? draw_blocks(*source.law, k_dot_blocks, k_dot_rows, k_dot_rows, k_row, options.seed)
            : std::vector<OperandBlock>();
    const std::vector<OperandBlock>& blocks = source.law ? drawn : source.blocks;
    OffsetRow row{source.name, {}, {}};
    row.grid = measure_offsets(options.variant, options.kept_bits, options.offsets, blocks, pool);
    for (const int k : options.kept_bits) {
      row.best.push_back(find_best_offset(options.variant, k, blocks));
    }
    rows.push_back(std::move(row));
  }
  return rows;
}

}  // namespace napier
