#include "bench/peers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <sstream>

#include "awq/error.h"

namespace awq::bench {
namespace {

constexpr double kMostError = 5e-3;
constexpr std::string_view kNotComparable[] = {"ggml", "cublas", "torch"};

enum Column : size_t { kPeer, kN, kK, kM, kUs, kError, kColumns };
constexpr std::array<std::string_view, kColumns> kNames = {"peer", "N", "K", "M", "us", "relerr"};

std::vector<std::string> fields_of(const std::string& line) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (const char c : line) {
    if (c == '"')
      quoted = !quoted;
    else if (c == ',' && !quoted)
      fields.emplace_back();
    else if (c != '\r')
      fields.back() += c;
  }
  return fields;
}

std::array<size_t, kColumns> find_columns(const std::vector<std::string>& header) {
  std::array<size_t, kColumns> at{};
  for (size_t column = 0; column < kColumns; ++column) {
    const auto found = std::ranges::find(header, kNames[column]);
    if (found == header.end())
      throw Error(
          ErrorKind::kBadInput,
          fmt::format("the peers' file has no column '{}': it needs peer, N, K, M, us, relerr", kNames[column]));
    at[column] = static_cast<size_t>(found - header.begin());
  }
  return at;
}

double number(const std::string& text, int line) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size())
    throw Error(ErrorKind::kBadInput, fmt::format("the peers' file has '{}' for a number in line {}", text, line));
  return value;
}

bool comparable(const std::string& peer, int64_t n, double relative_error) {
  const auto starts = [&](std::string_view prefix) { return peer.starts_with(prefix); };
  return n > 0 && relative_error > 0 && relative_error < kMostError && std::ranges::none_of(kNotComparable, starts);
}

}  // namespace

PeerTable PeerTable::parse(std::string_view csv) {
  std::istringstream lines{std::string(csv)};
  std::string line;
  std::getline(lines, line);
  const auto at = find_columns(fields_of(line));
  PeerTable table;
  for (int number_of_line = 2; std::getline(lines, line); ++number_of_line) {
    if (line.empty()) continue;
    const std::vector<std::string> fields = fields_of(line);
    if (fields.size() <= std::ranges::max(at))
      throw Error(ErrorKind::kBadInput, fmt::format("line {} of the peers' file has too few fields", number_of_line));
    const auto value = [&](Column column) { return number(fields[at[column]], number_of_line); };
    const auto n = static_cast<int64_t>(value(kN)), k = static_cast<int64_t>(value(kK)),
               m = static_cast<int64_t>(value(kM));
    const std::string& peer = fields[at[kPeer]];
    const double us = value(kUs);
    if (!comparable(peer, n, value(kError)) || !(us > 0)) continue;
    const auto [place, is_first] = table.best_.try_emplace({m, n, k}, PeerTiming{peer, us});
    if (!is_first && us < place->second.us) place->second = {peer, us};
  }
  return table;
}

PeerTable PeerTable::read_file(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  if (!(text << file.rdbuf())) throw Error(ErrorKind::kBadInput, fmt::format("cannot read the peers' file '{}'", path));
  return with_context([&] { return fmt::format("reading '{}'", path); }, [&] { return parse(text.str()); });
}

const PeerTiming* PeerTable::best(int64_t m, int64_t n, int64_t k) const {
  const auto found = best_.find({m, n, k});
  return found == best_.end() ? nullptr : &found->second;
}

std::vector<PeerLead> peer_leads(const CudaBenchReport& report, const PeerTable& peers, double margin) {
  std::vector<PeerLead> leads;
  for (const KernelTiming& row : report.rows) {
    const PeerTiming* peer = row.chosen_by("auto") ? peers.best(row.m, row.n, row.k) : nullptr;
    if (peer && row.us_p50 > (1 + margin) * peer->us) leads.push_back({row.m, row.n, row.k, *peer, row.us_p50});
  }
  std::ranges::stable_sort(leads, [](const auto& a, const auto& b) { return a.us / a.peer.us > b.us / b.peer.us; });
  return leads;
}

double mean_against_peers(const CudaBenchReport& report, const PeerTable& peers, int64_t m) {
  std::vector<double> ratios;
  for (const KernelTiming& row : report.rows)
    if (const PeerTiming* peer = peers.best(row.m, row.n, row.k); peer && row.m == m && row.chosen_by("auto"))
      ratios.push_back(row.us_p50 / peer->us);
  return geometric_mean(ratios);
}

}  // namespace awq::bench
