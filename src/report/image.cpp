#include "report/image.hpp"

#include "hw/tool.hpp"
#include "napier/error.hpp"
#include "numerics/input_file.hpp"

namespace napier {
namespace {

bool is_image(std::string_view path) { return path.ends_with(".png"); }

}  // namespace

void need_images(std::string_view who) {
  if (has_tool("rsvg-convert")) return;
  throw Error(std::string(who) +
              ": a PNG needs the program rsvg-convert (Debian: apt-get install librsvg2-bin)");
}

void check_plot(std::string_view path) {
  if (is_image(path)) need_images(path);
}

std::string image_of(const std::string& svg) {
  const WorkFolder folder;
  write_whole(folder.path("plot.svg"), svg);
  run_tool({"rsvg-convert", "--zoom", "2", "--output", "plot.png", "plot.svg"}, folder.path());
  return read_input_file(folder.path("plot.png"), "a plot");
}

std::string plot_for(std::string_view path, const std::string& svg) {
  return is_image(path) ? image_of(svg) : svg;
}

}  // namespace napier
