// Falx's decision with ONNX Runtime for C++; stb_image decodes the images.
//
//     how it is built: docs/embedding.md#
//     export ORT_DISABLE_TELEMETRY=1
//     ./classify NAME-self-contained.onnx slice.png

#include <array>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <memory>
#include <string>

#include <onnxruntime_cxx_api.h>
#define STB_IMAGE_IMPLEMENTATION
#include <stb_image.h>

int main(int count, char** arguments) try {
  if (count < 3) return std::fprintf(stderr, "usage: classify MODEL IMAGE...\n"), 2;
  Ort::Env environment;
  Ort::Session session(environment, arguments[1], Ort::SessionOptions());
  const std::array inputs{"image"};
  const std::array outputs{"decision_label", "confidence", "probabilities", "reason"};
  const auto memory = Ort::MemoryInfo::CreateCpu(OrtArenaAllocator, OrtMemTypeDefault);

  for (int i = 2; i < count; ++i) {
    int width, height, channels;
    std::unique_ptr<stbi_uc, decltype(&stbi_image_free)> pixels(
        stbi_load(arguments[i], &width, &height, &channels, STBI_rgb_alpha), stbi_image_free);
    if (!pixels) return std::fprintf(stderr, "%s: %s\n", arguments[i], stbi_failure_reason()), 1;
    stbi_uc* rgb = pixels.get();
    for (const stbi_uc *p = rgb, *end = p + 4 * std::size_t(width) * height; p != end; p += 4)
      for (int c = 0; c < 3; ++c) *rgb++ = (p[c] * p[3] + 127) / 255;  // RGBA to RGB on black

    const std::array<std::int64_t, 3> shape{height, width, 3};
    const auto image = Ort::Value::CreateTensor<std::uint8_t>(
        memory, pixels.get(), 3 * std::size_t(width) * height, shape.data(), shape.size());
    const auto answer = session.Run(Ort::RunOptions(), inputs.data(), &image, 1, outputs.data(), outputs.size());
    const std::string decision = answer[0].GetStringTensorElement(0);
    const float* p = answer[2].GetTensorData<float>();
    std::printf("{\"path\": \"%s\", \"decision\": \"%s\", \"confidence\": %.9g, ", arguments[i], decision.c_str(),
                *answer[1].GetTensorData<float>());
    std::printf("\"probabilities\": [%.9g, %.9g, %.9g, %.9g], \"reason\": %d}\n", p[0], p[1], p[2], p[3],
                *answer[3].GetTensorData<std::int32_t>());
  }
  std::fputs("For research and education only. Falx is not a medical device and makes no diagnosis.\n", stderr);
} catch (const std::exception& error) {
  return std::fprintf(stderr, "%s\n", error.what()), 1;
}
