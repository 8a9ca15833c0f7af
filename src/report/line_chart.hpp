// Lines over an axis, as SVG.
#pragma once

#include <string>
#include <vector>

namespace napier {

struct ChartPoint {
  double x = 0;
  double y = 0;
  double error = 0;  // half the length of its error bar
};

struct ChartLine {
  std::string name;
  std::vector<ChartPoint> points;  // those that are not finite leave a gap
  bool dashed = false;
};

// A chart with axes, ticks, error bars and a legend. With `log_x` ticks are at powers of two.
struct LineChart {
  std::string title;
  std::string x_label;
  std::string y_label;
  bool log_x = false;
  bool log_y = false;  // ticks at powers of ten
  std::vector<ChartLine> lines;

  // A whole SVG document, newline at its end.
  std::string svg() const;
};

}  // namespace napier
