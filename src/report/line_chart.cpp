#include "report/line_chart.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "report/plots.hpp"

namespace napier {
namespace {

constexpr double k_left = 70, k_top = 40, k_plot_width = 520, k_plot_height = 340;
constexpr double k_legend_width = 210;

// Okabe and Ito's colours, told apart by the colour-blind too; black last.
constexpr std::array k_colours = {"#0072B2", "#D55E00", "#009E73", "#CC79A7",
                                  "#E69F00", "#56B4E9", "#8C7A00", "#000000"};

struct Axis {
  bool log = false;
  double base = 10;  // of the ticks of a logarithmic axis
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  double scaled(double value) const { return log ? std::log(value) / std::log(base) : value; }
  void include(double value) {
    const double at = scaled(value);
    if (!std::isfinite(at)) return;
    low = std::min(low, at);
    high = std::max(high, at);
  }
  void settle() {
    if (!(low <= high)) low = 0, high = 1;
    const double margin = low == high ? 0.5 : 0.04 * (high - low);
    low -= margin;
    high += margin;
  }
  double part(double value) const { return (scaled(value) - low) / (high - low); }

  // In scaled units: whole numbers where logarithmic, else 1, 2 or 5 times a power of ten.
  std::vector<double> ticks() const {
    double step = std::pow(10, std::floor(std::log10((high - low) / 4)));
    for (const double factor : {2.0, 2.5, 2.0}) {
      if ((high - low) / step > 8) step *= factor;
    }
    if (log) step = std::max(1.0, std::round(step));
    std::vector<double> found;
    for (double at = std::ceil(low / step) * step; at <= high; at += step) found.push_back(at);
    return found;
  }
  std::string label(double tick) const {
    const double value = log ? std::pow(base, tick) : tick;
    return fmt::format("{:.6g}", std::fabs(value) < 1e-12 ? 0.0 : value);
  }
};

}  // namespace

std::string LineChart::svg() const {
  Axis x{.log = log_x, .base = 2};
  Axis y{.log = log_y};
  for (const ChartLine& line : lines) {
    for (const ChartPoint& point : line.points) {
      if (!std::isfinite(point.y)) continue;
      x.include(point.x);
      y.include(point.y - point.error);
      y.include(point.y + point.error);
    }
  }
  x.settle();
  y.settle();
  const auto px = [&](double part) { return k_left + part * k_plot_width; };
  const auto py = [&](double part) { return k_top + (1 - part) * k_plot_height; };
  const double width = k_left + k_plot_width + k_legend_width;
  const double height = k_top + k_plot_height + 60;

  std::string out = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{0}\" height=\"{1}\" "
      "viewBox=\"0 0 {0} {1}\" font-family=\"sans-serif\" font-size=\"12\">\n"
      "<rect width=\"{0}\" height=\"{1}\" fill=\"white\"/>\n"
      "<text x=\"{2}\" y=\"22\" font-size=\"14\">{3}</text>\n",
      width, height, k_left, markup_escaped(title));
  const auto rule = [&](double x1, double y1, double x2, double y2, const char* colour) {
    out += fmt::format(
        "<line x1=\"{:.1f}\" y1=\"{:.1f}\" x2=\"{:.1f}\" y2=\"{:.1f}\" stroke=\"{}\"/>\n", x1, y1,
        x2, y2, colour);
  };
  for (const double tick : x.ticks()) {
    const double at = px((tick - x.low) / (x.high - x.low));
    rule(at, k_top, at, k_top + k_plot_height, "#DDDDDD");
    out += fmt::format("<text x=\"{:.1f}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n", at,
                       k_top + k_plot_height + 18, x.label(tick));
  }
  for (const double tick : y.ticks()) {
    const double at = py((tick - y.low) / (y.high - y.low));
    rule(k_left, at, k_left + k_plot_width, at, "#DDDDDD");
    out += fmt::format("<text x=\"{}\" y=\"{:.1f}\" text-anchor=\"end\">{}</text>\n", k_left - 6,
                       at + 4, y.label(tick));
  }
  rule(k_left, k_top, k_left, k_top + k_plot_height, "black");
  rule(k_left, k_top + k_plot_height, k_left + k_plot_width, k_top + k_plot_height, "black");
  out += fmt::format("<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">{}</text>\n",
                     k_left + k_plot_width / 2, height - 14, markup_escaped(x_label));
  out += fmt::format(
      "<text transform=\"translate(16 {}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n",
      k_top + k_plot_height / 2, markup_escaped(y_label));

  for (size_t i = 0; i < lines.size(); ++i) {
    const ChartLine& line = lines[i];
    const char* colour = k_colours[i % k_colours.size()];
    const char* dash = line.dashed ? " stroke-dasharray=\"6 4\"" : "";
    std::string path;
    bool pen_down = false;
    for (const ChartPoint& point : line.points) {
      const double at_x = px(x.part(point.x));
      const double at_y = py(y.part(point.y));
      if (!std::isfinite(at_x) || !std::isfinite(at_y)) {
        pen_down = false;
        continue;
      }
      path += fmt::format("{}{:.1f} {:.1f} ", pen_down ? 'L' : 'M', at_x, at_y);
      pen_down = true;
      out += fmt::format("<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"2.5\" fill=\"{}\"/>\n", at_x,
                         at_y, colour);
      const double top = py(y.part(point.y + point.error));
      const double bottom = py(y.part(point.y - point.error));
      if (point.error > 0 && std::isfinite(bottom - top)) rule(at_x, bottom, at_x, top, colour);
    }
    out += fmt::format("<path d=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"1.5\"{}/>\n",
                       path, colour, dash);
    const double legend = k_top + 10 + 18 * static_cast<double>(i);
    out += fmt::format(
        "<line x1=\"{0}\" y1=\"{1}\" x2=\"{2}\" y2=\"{1}\" stroke=\"{3}\" stroke-width=\"2\"{4}/>\n"
        "<text x=\"{5}\" y=\"{6}\">{7}</text>\n",
        k_left + k_plot_width + 12, legend, k_left + k_plot_width + 36, colour, dash,
        k_left + k_plot_width + 42, legend + 4, markup_escaped(line.name));
  }
  return out + "</svg>\n";
}

}  // namespace napier
