// Plots as SVG: light and dark as the reader's screen is, no script, no file besides.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace napier {

// Values on a grid; NaN is an empty cell, infinity is written so and has the end of the scale.
struct HeatMap {
  std::string title;
  std::vector<std::string> rows;
  std::vector<std::string> columns;
  std::vector<std::vector<double>> values;  // by row
  std::string unit;
  int digits = 1;               // behind the point, in cells
  bool darker_is_less = false;  // for what is worse the smaller it is, as a signal-to-noise ratio
};
std::string heat_map_svg(const HeatMap& map);

// A point may have an interval in y; low and high are NaN where it has none.
struct ScatterPlot {
  struct Point {
    std::string name;
    double x = 0, y = 0, low = 0, high = 0;
    size_t series = 0;  // the same colour in all plots
  };
  std::string title, x_label, y_label;
  bool log_x = false, log_y = false;
  std::vector<Point> points;
};
std::string scatter_svg(const ScatterPlot& plot);

// A value and its interval a row, about a line at 0.
struct IntervalPlot {
  struct Row {
    std::string name;
    double value = 0, low = 0, high = 0;  // low and high are NaN where there is no interval
  };
  std::string title, x_label;
  std::vector<Row> rows;
};
std::string interval_svg(const IntervalPlot& plot);

// Lines over common values of x.
struct LinePlot {
  struct Line {
    std::string name;
    std::vector<double> x, y;
  };
  std::string title, x_label, y_label;
  std::vector<Line> lines;
};
std::string line_svg(const LinePlot& plot);

// Several plots one below the other, as one SVG file.
std::string stacked_svg(const std::vector<std::string>& plots);

// Text as SVG, HTML and XML want it.
std::string markup_escaped(std::string_view text);

}  // namespace napier
