#include "quant/work_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>

#include <cmath>
#include <cstring>
#include <nlohmann/json.hpp>
#include <set>

#include "awq/error.h"
#include "core/hash.h"
#include "io/file.h"
#include "model/architectures.h"

namespace awq::quant {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
constexpr uint64_t kMaxJson = uint64_t{64} << 20;

std::string file_hash(const fs::path& path) {
  const io::File file(path);
  std::vector<std::byte> buffer(1 << 20);
  Hasher hasher;
  for (uint64_t at = 0; at < file.size(); at += buffer.size()) {
    const auto part = std::span(buffer).first(std::min<uint64_t>(buffer.size(), file.size() - at));
    file.read_at(at, part);
    hasher.add(part);
  }
  return hasher.hex();
}

std::string differing_keys(const json& before, const json& now) {
  std::set<std::string> keys;
  for (const auto& [key, value] : before.items()) keys.insert(key);
  for (const auto& [key, value] : now.items()) keys.insert(key);
  std::string text;
  for (const std::string& key : keys)
    if (before.value(key, json()) != now.value(key, json()))
      text +=
          fmt::format("\n  {}: was {}, is {}", key, before.value(key, json()).dump(), now.value(key, json()).dump());
  return text;
}

// JSON has no infinity; a loss that is not finite is stored as null.
json number(double x) { return std::isfinite(x) ? json(x) : json(nullptr); }

json to_json(const LinearReport& r) {
  return {{"name", r.name},     {"rtn_loss", number(r.rtn_loss)},   {"loss", number(r.loss)},
          {"chosen", r.chosen}, {"dead_channels", r.dead_channels}, {"warning", r.warning}};
}

LinearReport report_from(const json& j) {
  const auto loss = [&](const char* key) { return j.at(key).is_null() ? NAN : j.at(key).get<double>(); };
  return {j.at("name"), loss("rtn_loss"), loss("loss"), j.at("chosen"), j.at("dead_channels"), j.at("warning")};
}

bool has_finished_block(const fs::path& blocks) {
  for (const auto& entry : fs::directory_iterator(blocks))
    if (entry.path().extension() == ".json") return true;
  return false;
}

struct Pending {
  io::TensorSpec spec;
  std::vector<std::byte> bytes;
};

std::vector<std::byte> as_f16(const backend::FloatTensor& t, const std::string& name) {
  std::vector<std::byte> bytes(t.data.size() * 2);
  for (size_t i = 0; i < t.data.size(); ++i) {
    const f16_t h = f32_to_f16(t.data[i]);
    if (!std::isfinite(f16_to_f32(h)))
      throw Error(ErrorKind::kBadInput,
                  fmt::format("{}[{}] = {} does not fit fp16 (largest 65504)", name, i, t.data[i]));
    std::memcpy(bytes.data() + 2 * i, &h, 2);
  }
  return bytes;
}

template <class T>
std::vector<std::byte> raw(const std::vector<T>& v) {
  const auto bytes = std::as_bytes(std::span(v));
  return {bytes.begin(), bytes.end()};
}

void write_tensors(const fs::path& path, const std::vector<Pending>& tensors) {
  std::vector<io::TensorSpec> specs;
  for (const Pending& t : tensors) specs.push_back(t.spec);
  io::SafetensorsWriter writer(path, specs);
  for (const Pending& t : tensors) writer.write(t.bytes);
  writer.commit();
}

}  // namespace

FileLock::FileLock(const fs::path& file, const fs::path& folder) {
  fd_ = ::open(file.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd_ < 0)
    throw Error(ErrorKind::kFailure, fmt::format("cannot open '{}': {}", file.string(), std::strerror(errno)));
  if (::flock(fd_, LOCK_EX | LOCK_NB) == 0) {
    const std::string who = fmt::format("pid {}\n", ::getpid());
    if (::ftruncate(fd_, 0) != 0 || ::pwrite(fd_, who.data(), who.size(), 0) < 0) return;  // only for the message below
    return;
  }
  char who[64] = {};
  if (::pread(fd_, who, sizeof who - 1, 0) < 0) who[0] = 0;
  ::close(fd_);
  throw Error(ErrorKind::kExists, fmt::format("another run works in '{}' ({})", folder.string(),
                                              std::string(who).substr(0, std::strcspn(who, "\n"))));
}

FileLock::~FileLock() { ::close(fd_); }

WorkFolder::WorkFolder(fs::path path, const std::string& settings, bool resume, bool force) : path_(std::move(path)) {
  std::error_code ec;
  fs::create_directories(path_ / "blocks", ec);
  if (ec)
    throw Error(ErrorKind::kFailure,
                fmt::format("cannot create the work folder '{}': {}; choose another with --work-dir", path_.string(),
                            ec.message()));
  lock_ = std::make_unique<FileLock>(path_ / "LOCK", path_);
  const fs::path job = path_ / "job.json";
  const json now = json::parse(settings);
  if (fs::exists(job) && resume) {
    const json before = json::parse(io::read_file(job, kMaxJson), nullptr, false);
    if (before != now)
      throw Error(ErrorKind::kUsage,
                  fmt::format("'{}' belongs to a run with other settings:{}\nresume with those, or start "
                              "anew with --force",
                              path_.string(), differing_keys(before, now)));
    return;
  }
  if (fs::exists(job) && !force && has_finished_block(path_ / "blocks"))
    throw Error(
        ErrorKind::kExists,
        fmt::format("'{}' holds a stopped run: go on with --resume, or start anew with --force", path_.string()));
  fs::remove_all(path_ / "blocks");
  fs::create_directories(path_ / "blocks");
  io::write_file(job, settings);
}

fs::path WorkFolder::block_path(int64_t layer, const char* suffix) const {
  return path_ / "blocks" / fmt::format("{:05d}{}", layer, suffix);
}
fs::path WorkFolder::tensors_path(int64_t layer) const { return block_path(layer, ".safetensors"); }
fs::path WorkFolder::salient_path(int64_t layer) const { return block_path(layer, ".salient.safetensors"); }

std::optional<std::vector<LinearReport>> WorkFolder::finished(int64_t layer) const {
  const fs::path record = block_path(layer, ".json");
  if (!fs::exists(record)) return std::nullopt;
  try {
    const json j = json::parse(io::read_file(record, kMaxJson));
    if (j.at("hash") != file_hash(tensors_path(layer))) return std::nullopt;
    if (!j.at("salient_hash").is_null() && j.at("salient_hash") != file_hash(salient_path(layer))) return std::nullopt;
    std::vector<LinearReport> reports;
    for (const json& r : j.at("linears")) reports.push_back(report_from(r));
    return reports;
  } catch (const json::exception&) {  // a record cut short: the block is done again
    return std::nullopt;
  } catch (const Error&) {
    return std::nullopt;
  }
}

void WorkFolder::store(int64_t layer, const BlockResult& block, const format::LayoutRow& layout) {
  std::vector<Pending> tensors, salient;
  const std::string prefix = model::block_prefix(layer);
  for (const BlockLinear& linear : block.linears) {
    const std::string module = prefix + linear.name;
    for (format::EncodedTensor& t : layout.encode(linear.packed))  // the bias among them
      tensors.push_back({{module + "." + t.suffix, t.dtype, t.shape}, std::move(t.bytes)});
    if (linear.salient.empty()) continue;
    const auto specs = format::salient_specs(module, std::ssize(linear.salient.index), linear.packed.n);
    salient.push_back({specs[0], raw(linear.salient.index)});
    salient.push_back({specs[1], raw(linear.salient.delta)});
  }
  for (const backend::FloatTensor& t : block.others) {
    std::vector<std::byte> bytes =
        as_f16(t, prefix + t.name);  // may throw: not inside the braces, g++ 12 frees twice there
    tensors.push_back({{prefix + t.name, Dtype::kF16, t.shape}, std::move(bytes)});
  }
  write_tensors(tensors_path(layer), tensors);
  json record = {{"hash", file_hash(tensors_path(layer))}, {"salient_hash", nullptr}, {"linears", json::array()}};
  if (!salient.empty()) {
    write_tensors(salient_path(layer), salient);
    record["salient_hash"] = file_hash(salient_path(layer));
  }
  for (const LinearReport& r : block.reports) record["linears"].push_back(to_json(r));
  io::write_file(block_path(layer, ".json"), record.dump());
}

void WorkFolder::remove() {
  std::error_code ec;  // the output is already in place: a work folder that cannot be removed is not a failure
  fs::remove_all(path_, ec);
}

}  // namespace awq::quant
