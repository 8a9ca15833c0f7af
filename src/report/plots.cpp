#include "report/plots.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <utility>

namespace napier {
namespace {

// Colours are variables, so that a page's style and a reader's dark screen reach into the plot; a
// program that knows none takes the one before.
constexpr const char* k_style =
    "<style>.nplot{--ink:#1c2430;--soft:#697386;--grid:#dfe3e8;--paper:#ffffff;"
    "font-family:system-ui,sans-serif}"
    "@media (prefers-color-scheme:dark){.nplot{--ink:#e6e9ee;--soft:#98a2b3;--grid:#343c48;"
    "--paper:#14181f}}"
    ".nplot .t{fill:#1c2430;fill:var(--ink)}.nplot .s{fill:#697386;fill:var(--soft)}"
    ".nplot .p{fill:#ffffff;fill:var(--paper)}.nplot .g{stroke:#dfe3e8;stroke:var(--grid)}"
    ".nplot .z{stroke:#697386;stroke:var(--soft)}</style>";

// Okabe and Ito's colours, told apart by colour-blind readers; the middle of both backgrounds.
constexpr std::array k_series = {"#0072b2", "#d55e00", "#009e73", "#cc79a7",
                                 "#e69f00", "#56b4e9", "#8c6bb1", "#7f8c8d"};

std::string opening(int width, int height) {
  return fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"nplot\" width=\"{0}\" height=\"{1}\" "
      "viewBox=\"0 0 {0} {1}\" role=\"img\">{2}<rect class=\"p\" width=\"{0}\" "
      "height=\"{1}\"/>",
      width, height, k_style);
}

std::string text_at(double x, double y, std::string_view text, const char* anchor = "start",
                    const char* kind = "t", int size = 12, std::string_view more = "") {
  return fmt::format(
      "<text x=\"{:.1f}\" y=\"{:.1f}\" font-size=\"{}\" text-anchor=\"{}\" "
      "class=\"{}\"{}>{}</text>",
      x, y, size, anchor, kind, more, markup_escaped(text));
}

struct Colour {
  double r, g, b;
};

// From pale to deep: ColorBrewer's sequential orange-red, in linear steps between its anchors.
Colour shade(double part) {
  constexpr std::array<Colour, 5> anchors = {
      {{254, 240, 217}, {253, 204, 138}, {252, 141, 89}, {227, 74, 51}, {153, 0, 0}}};
  const double place = std::clamp(part, 0.0, 1.0) * (anchors.size() - 1);
  const auto low = std::min<size_t>(static_cast<size_t>(place), anchors.size() - 2);
  const double weight = place - static_cast<double>(low);
  const auto mix = [&](double a, double b) { return a + (b - a) * weight; };
  return {mix(anchors[low].r, anchors[low + 1].r), mix(anchors[low].g, anchors[low + 1].g),
          mix(anchors[low].b, anchors[low + 1].b)};
}

std::string number(double value, int digits) {
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  return fmt::format("{:.{}f}", value, digits);
}

// Round numbers that divide an axis in about `count` parts; powers of ten on a logarithmic one.
std::vector<double> ticks(double low, double high, bool logarithmic, int count) {
  std::vector<double> result;
  if (logarithmic) {
    const double decades = std::log10(high / low);
    const std::vector<double> steps =
        decades > 2.5 ? std::vector<double>{1} : std::vector<double>{1, 2, 5};
    for (double power = std::floor(std::log10(low)); power <= std::log10(high) + 1; ++power) {
      for (const double step : steps) {
        const double value = step * std::pow(10, power);
        if (value >= low * 0.999 && value <= high * 1.001) result.push_back(value);
      }
    }
    return result;
  }
  const double raw = (high - low) / count;
  const double power = std::pow(10, std::floor(std::log10(raw)));
  const double part = raw / power;
  const double step = (part < 1.5 ? 1 : part < 3.5 ? 2 : part < 7.5 ? 5 : 10) * power;
  for (double value = std::ceil(low / step) * step; value <= high + step * 1e-9; value += step) {
    result.push_back(std::abs(value) < step * 1e-9 ? 0 : value);
  }
  return result;
}

// One axis: values to places.
struct Axis {
  double low, high, begin, end;
  bool logarithmic;

  double at(double value) const {
    const auto scaled = [&](double v) { return logarithmic ? std::log(v) : v; };
    const double part = (scaled(value) - scaled(low)) / (scaled(high) - scaled(low));
    return begin + (end - begin) * part;
  }
};

Axis axis_for(std::vector<double> values, bool logarithmic, double begin, double end) {
  std::erase_if(values, [&](double v) { return !std::isfinite(v) || (logarithmic && v <= 0); });
  if (values.empty()) values = {1};
  auto [low, high] = std::pair(*std::min_element(values.begin(), values.end()),
                               *std::max_element(values.begin(), values.end()));
  if (logarithmic) {
    const double margin = std::max(std::pow(high / low, 0.06), 1.1);
    return {low / margin, high * margin, begin, end, true};
  }
  const double margin = high > low ? 0.06 * (high - low) : std::max(std::abs(low) * 0.1, 0.1);
  return {low - margin, high + margin, begin, end, false};
}

constexpr double k_left = 64, k_top = 40, k_bottom = 52, k_right = 24;
// Narrow, so that text of 11 units can be read on a phone that shows all of the width.
constexpr int k_width = 480, k_height = 350;

// `key` units at the right stay free.
std::string frame(const Axis& x, const Axis& y, const std::string& title,
                  const std::string& x_label, const std::string& y_label, int key = 0) {
  std::string svg = opening(k_width + key, k_height) + text_at(k_left, 22, title, "start", "t", 15);
  for (const double value : ticks(x.low, x.high, x.logarithmic, 7)) {
    svg += fmt::format("<line class=\"g\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\"/>",
                       x.at(value), k_top, k_height - k_bottom);
    svg += text_at(x.at(value), k_height - k_bottom + 16, fmt::format("{:g}", value), "middle", "s",
                   11);
  }
  for (const double value : ticks(y.low, y.high, y.logarithmic, 6)) {
    svg += fmt::format("<line class=\"g\" y1=\"{0:.1f}\" y2=\"{0:.1f}\" x1=\"{1}\" x2=\"{2}\"/>",
                       y.at(value), k_left, k_width - k_right);
    svg += text_at(k_left - 6, y.at(value) + 4, fmt::format("{:g}", value), "end", "s", 11);
  }
  svg += text_at((k_left + k_width - k_right) / 2, k_height - 14, x_label, "middle");
  svg += text_at(0, 0, y_label, "middle", "t", 12,
                 fmt::format(" transform=\"translate(16 {:.0f}) rotate(-90)\"",
                             (k_top + k_height - k_bottom) / 2));
  return svg;
}

// A long plan is cut; its whole text is the tooltip.
std::string short_label(const std::string& name) {
  return name.size() > 24 ? name.substr(0, 22) + "..." : name;
}

// Labels beside points: where they cover neither a point nor each other, if there is such a place.
class LabelPlaces {
 public:
  void keep_free(double x, double y) { taken_.push_back({x - 6, y - 6, x + 6, y + 6}); }

  std::string beside(double x, double y, const std::string& name) {
    constexpr double letter = 6.2, height = 11, away = 9;  // of text of 11 units
    const double width = letter * static_cast<double>(name.size());
    double fewest = std::numeric_limits<double>::infinity(), best_y = y + 4;
    bool best_right = true;
    for (const double shift : {4.0, -7.0, 15.0, -18.0, 26.0, -29.0, 37.0}) {
      for (const bool right : {true, false}) {
        const double left = right ? x + away : x - away - width;
        const Box box = {left, y + shift - height, left + width, y + shift + 2};
        double covered = left < k_left || left + width > k_width ? 100 : 0;
        for (const Box& other : taken_) covered += box.meets(other);
        if (covered >= fewest) continue;
        fewest = covered;
        best_y = y + shift;
        best_right = right;
      }
    }
    const double left = best_right ? x + away : x - away - width;
    taken_.push_back({left, best_y - height, left + width, best_y + 2});
    return text_at(x + (best_right ? away : -away), best_y, name, best_right ? "start" : "end", "t",
                   11);
  }

 private:
  struct Box {
    double left, top, right, bottom;
    bool meets(const Box& other) const {
      return left < other.right && other.left < right && top < other.bottom && other.top < bottom;
    }
  };
  std::vector<Box> taken_;
};

}  // namespace

std::string markup_escaped(std::string_view text) {
  std::string result;
  for (const char c : text) {
    switch (c) {
      case '&': result += "&amp;"; break;
      case '<': result += "&lt;"; break;
      case '>': result += "&gt;"; break;
      case '"': result += "&quot;"; break;
      case '\'': result += "&#39;"; break;
      default: result += static_cast<unsigned char>(c) < ' ' && c != '\n' ? ' ' : c;
    }
  }
  return result;
}

std::string heat_map_svg(const HeatMap& map) {
  constexpr int cell_width = 76, cell_height = 24, left = 110, top = 66, space = 12;
  const int width = left + cell_width * static_cast<int>(map.columns.size()) + space;
  const int height = top + cell_height * static_cast<int>(map.rows.size()) + space;
  double low = std::numeric_limits<double>::infinity(), high = -low;
  for (const auto& row : map.values) {
    for (const double value : row) {
      if (!std::isfinite(value)) continue;
      low = std::min(low, value);
      high = std::max(high, value);
    }
  }
  std::string svg = opening(width, height) + text_at(space, 22, map.title, "start", "t", 15) +
                    text_at(space, 40, map.unit, "start", "s", 12);
  for (size_t c = 0; c < map.columns.size(); ++c) {
    svg += text_at(left + cell_width * (static_cast<double>(c) + 0.5), top - 6, map.columns[c],
                   "middle", "t", 11);
  }
  for (size_t r = 0; r < map.rows.size(); ++r) {
    const double y = top + cell_height * static_cast<double>(r);
    svg += text_at(left - 8, y + 16, map.rows[r], "end", "t", 11);
    for (size_t c = 0; c < map.columns.size(); ++c) {
      const double value = map.values[r][c];
      if (std::isnan(value)) continue;
      double part = high > low ? (std::clamp(value, low, high) - low) / (high - low) : 0;
      if (map.darker_is_less) part = 1 - part;
      const Colour colour = shade(part);
      const double x = left + cell_width * static_cast<double>(c);
      const std::string text = number(value, map.digits);
      svg += fmt::format(
          "<g><title>{}, {}: {}</title><rect x=\"{:.0f}\" y=\"{:.0f}\" width=\"{}\" height=\"{}\" "
          "rx=\"3\" fill=\"rgb({:.0f},{:.0f},{:.0f})\"/><text x=\"{:.1f}\" y=\"{:.1f}\" "
          "font-size=\"11\" text-anchor=\"middle\" fill=\"{}\">{}</text></g>",
          markup_escaped(map.rows[r]), markup_escaped(map.columns[c]), text, x + 1, y + 1,
          cell_width - 2, cell_height - 2, colour.r, colour.g, colour.b, x + cell_width / 2.0,
          y + 16, part > 0.6 ? "#fff" : "#1c2430", text);
    }
  }
  return svg + "</svg>\n";
}

std::string scatter_svg(const ScatterPlot& plot) {
  std::vector<double> xs, ys;
  for (const auto& point : plot.points) {
    xs.push_back(point.x);
    ys.insert(ys.end(), {point.y, point.low, point.high});
  }
  const Axis x = axis_for(xs, plot.log_x, k_left, k_width - k_right);
  const Axis y = axis_for(ys, plot.log_y, k_height - k_bottom, k_top);
  std::string svg = frame(x, y, plot.title, plot.x_label, plot.y_label);
  LabelPlaces labels;
  const auto is_shown = [&](const ScatterPlot::Point& point) {
    const bool off_scale = (plot.log_x && point.x <= 0) || (plot.log_y && point.y <= 0);
    return !off_scale && std::isfinite(point.x) && std::isfinite(point.y);
  };
  for (const auto& point : plot.points) {
    if (is_shown(point)) labels.keep_free(x.at(point.x), y.at(point.y));
  }
  for (const auto& point : plot.points) {
    if (!is_shown(point)) continue;
    const char* colour = k_series[point.series % k_series.size()];
    const double px = x.at(point.x), py = y.at(point.y);
    if (std::isfinite(point.low) && (!plot.log_y || point.low > 0)) {
      svg += fmt::format(
          "<line x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1:.1f}\" y2=\"{2:.1f}\" "
          "stroke=\"{3}\" stroke-width=\"1.5\" opacity=\"0.6\"/>",
          px, y.at(point.low), y.at(point.high), colour);
    }
    svg += fmt::format(
        "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"5\" fill=\"{}\"><title>{}: {:g}, "
        "{:g}</title></circle>",
        px, py, colour, markup_escaped(point.name), point.x, point.y);
    svg += labels.beside(px, py, short_label(point.name));
  }
  return svg + "</svg>\n";
}

std::string interval_svg(const IntervalPlot& plot) {
  constexpr int row_height = 26, left = 200;
  const int bottom = static_cast<int>(k_top) + row_height * static_cast<int>(plot.rows.size());
  std::vector<double> xs = {0};
  for (const auto& row : plot.rows) xs.insert(xs.end(), {row.value, row.low, row.high});
  const Axis x = axis_for(xs, false, left, k_width - k_right);
  std::string svg = opening(k_width, bottom + 48) + text_at(12, 22, plot.title, "start", "t", 15);
  for (const double value : ticks(x.low, x.high, false, 7)) {
    svg += fmt::format("<line class=\"{3}\" x1=\"{0:.1f}\" x2=\"{0:.1f}\" y1=\"{1}\" y2=\"{2}\"/>",
                       x.at(value), k_top - 4, bottom, value == 0 ? "z" : "g");
    svg += text_at(x.at(value), bottom + 16, fmt::format("{:g}", value), "middle", "s", 11);
  }
  for (size_t i = 0; i < plot.rows.size(); ++i) {
    const auto& row = plot.rows[i];
    const double y = k_top + row_height * (static_cast<double>(i) + 0.5);
    const char* colour = k_series[i % k_series.size()];
    svg += text_at(left - 10, y + 4, short_label(row.name), "end", "t", 12);
    if (std::isfinite(row.low) && std::isfinite(row.high)) {
      svg += fmt::format(
          "<line x1=\"{:.1f}\" x2=\"{:.1f}\" y1=\"{:.1f}\" y2=\"{:.1f}\" "
          "stroke=\"{}\" stroke-width=\"3\" stroke-linecap=\"round\" "
          "opacity=\"0.5\"/>",
          x.at(row.low), x.at(row.high), y, y, colour);
    }
    if (!std::isfinite(row.value)) continue;
    svg += fmt::format(
        "<circle cx=\"{:.1f}\" cy=\"{:.1f}\" r=\"5\" fill=\"{}\"><title>{}: "
        "{:.3g}</title></circle>",
        x.at(row.value), y, colour, markup_escaped(row.name), row.value);
  }
  svg += text_at((left + k_width - k_right) / 2, bottom + 36, plot.x_label, "middle");
  return svg + "</svg>\n";
}

std::string line_svg(const LinePlot& plot) {
  std::vector<double> xs, ys = {0};
  for (const auto& line : plot.lines) {
    xs.insert(xs.end(), line.x.begin(), line.x.end());
    ys.insert(ys.end(), line.y.begin(), line.y.end());
  }
  constexpr int key_width = 110;
  const Axis x = axis_for(xs, false, k_left, k_width - k_right);
  const Axis y = axis_for(ys, false, k_height - k_bottom, k_top);
  std::string svg = frame(x, y, plot.title, plot.x_label, plot.y_label, key_width);
  for (size_t i = 0; i < plot.lines.size(); ++i) {
    const auto& line = plot.lines[i];
    const char* colour = k_series[i % k_series.size()];
    std::string points;
    for (size_t j = 0; j < line.x.size(); ++j) {
      points += fmt::format("{:.1f},{:.1f} ", x.at(line.x[j]), y.at(line.y[j]));
    }
    const bool second_round = i >= k_series.size();
    svg += fmt::format("<polyline points=\"{}\" fill=\"none\" stroke=\"{}\" stroke-width=\"2\"{}/>",
                       points, colour, second_round ? " stroke-dasharray=\"5 3\"" : "");
    const double key = k_top + 10 + 16 * static_cast<double>(i);
    svg += fmt::format(
        "<line x1=\"{0}\" x2=\"{1}\" y1=\"{2:.0f}\" y2=\"{2:.0f}\" stroke=\"{3}\" "
        "stroke-width=\"3\"{4}/>",
        k_width - 12, k_width + 4, key - 4, colour,
        second_round ? " stroke-dasharray=\"5 3\"" : "");
    svg += text_at(k_width + 10, key, line.name, "start", "t", 11);
  }
  return svg + "</svg>\n";
}

std::string stacked_svg(const std::vector<std::string>& plots) {
  const auto dimension = [](const std::string& svg, std::string_view name) {
    const size_t at = svg.find(std::string(name) + "=\"") + name.size() + 2;
    return std::stoi(svg.substr(at));
  };
  int width = 0, height = 0;
  std::string inner;
  for (const std::string& plot : plots) {
    inner += fmt::format("<svg y=\"{}\"", height) + plot.substr(4);
    width = std::max(width, dimension(plot, "width"));
    height += dimension(plot, "height") + 12;
  }
  return opening(width, height) + "\n" + inner + "</svg>\n";
}

}  // namespace napier
