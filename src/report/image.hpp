// Plots as PNG.
#pragma once

#include <string>
#include <string_view>

namespace napier {

// Throws Error, after `who` asked, if the program that makes PNGs is not there.
void need_images(std::string_view who);

// Throws Error if no plot could be written at `path`: a name that ends in .png asks for a PNG.
void check_plot(std::string_view path);

// An SVG of ours as a PNG, light, two pixels a unit. Throws Error (environment).
std::string image_of(const std::string& svg);

// A plot as the file at `path` wants it.
std::string plot_for(std::string_view path, const std::string& svg);

}  // namespace napier
