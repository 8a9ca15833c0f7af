// What a training run shows: losses by step, as CSV and as a plot, and a summary.
#pragma once

#include <string>

#include "train/training.hpp"

namespace napier {

// step,training,validation: a line a step; validation is empty where it was not measured.
std::string losses_csv(const LossRecord& record);
// The training loss, averaged so that some 300 points are left, and the validation loss.
std::string losses_svg(const std::string& title, const LossRecord& record);

std::string training_text(const TrainConfig& config, const TrainRun& run);
std::string training_json(const TrainConfig& config, const TrainRun& run);

}  // namespace napier
