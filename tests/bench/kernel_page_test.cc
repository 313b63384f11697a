#include "bench/kernel_page.h"

#include <gmock/gmock.h>

#include "bench/log_chart.h"
#include "fake_report.h"

namespace awq::bench {
namespace {

using testing::HasSubstr;
using testing::Not;

// "" when every element that begins also ends, in order, and no text holds a bare '<' or '&'; else what is wrong.
std::string xml_fault(const std::string& text) {
  std::vector<std::string> open;
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '&' && text.find(';', i) - i > 6) return "a bare & at " + text.substr(i, 20);
    if (text[i] != '<') continue;
    const size_t end = text.find('>', i);
    if (end == std::string::npos) return "an element without end at " + text.substr(i, 20);
    const std::string inside = text.substr(i + 1, end - i - 1), name = inside.substr(0, inside.find_first_of(" \n/"));
    if (inside.find('<') != std::string::npos) return "a bare < at " + text.substr(i, 20);
    if (std::count(inside.begin(), inside.end(), '"') % 2) return "an open quote in <" + inside;
    if (inside[0] == '/') {
      if (open.empty() || open.back() != inside.substr(1)) return "<" + inside + "> ends nothing";
      open.pop_back();
    } else if (inside[0] != '!' && inside.back() != '/') {
      open.push_back(name);
    }
    i = end;
  }
  return open.empty() ? "" : "<" + open.back() + "> has no end";
}

size_t count(const std::string& text, const std::string& what) {
  size_t found = 0;
  for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) ++found;
  return found;
}

TEST(XmlFault, SeesFaults) {
  EXPECT_EQ(xml_fault("<a><b x=\"1\"/>1 &lt; 2</a>"), "");
  EXPECT_NE(xml_fault("<a><b></a></b>"), "");
  EXPECT_NE(xml_fault("<a>"), "");
  EXPECT_NE(xml_fault("<a>1 & 2</a>"), "");
  EXPECT_NE(xml_fault("<a x=\"1>2</a>"), "");
}

TEST(KernelPage, IsWellFormedAndSelfContained) {
  CudaBenchReport report = fake_report();  // of a device whose name must be escaped
  report.notes = {"a < b"};
  report.failures = {"\"c\" & d"};
  const std::string page = html_page(report, nullptr);
  EXPECT_EQ(xml_fault(page), "");
  EXPECT_EQ(count(page, "<svg"), 2u);
  for (const char* foreign : {"<script", "src=", "href=", "url(", "@import"})
    EXPECT_THAT(page, Not(HasSubstr(foreign)));
  EXPECT_THAT(page, HasSubstr("prefers-color-scheme: dark"));
  EXPECT_THAT(page, HasSubstr("Fake &lt;H200&gt; &amp; Co"));
}

TEST(KernelPage, MarksWhereGemmTakesOver) {
  const std::string page = html_page(fake_report(), nullptr);
  EXPECT_EQ(count(page, "class=\"mark\""), 2u);
  EXPECT_THAT(page, HasSubstr("GEMM from "));
  CudaBenchOptions few = small_options();
  few.m = {1, 4};
  EXPECT_THAT(html_page(fake_report(few), nullptr), Not(HasSubstr("GEMM from ")));
}

TEST(KernelPage, DrawsPeersWhereThereAreSome) {
  const auto peers = PeerTable::parse("peer,N,K,M,us,relerr\nturbo,4096,4096,1,2.5,1e-4\n");
  EXPECT_EQ(count(html_page(fake_report(), &peers), "<g class=\"peer\">"), 2u);  // line and legend of one chart
  EXPECT_EQ(count(html_page(fake_report(), nullptr), "<g class=\"peer\">"), 0u);
}

TEST(LogChart, PutsEqualRatiosAtEqualDistances) {
  const LogChart chart{.title = "t",
                       .x_name = "x",
                       .y_name = "y",
                       .lines = {{"a", "a", {{1, 10}, {10, 20}, {100, 40}}}},
                       .mark_x = {},
                       .mark_name = {}};
  const std::string drawing = svg(chart);
  EXPECT_EQ(xml_fault(drawing), "");
  std::vector<double> x, y;
  for (size_t at = drawing.find("<circle cx=\""); at != std::string::npos; at = drawing.find("<circle cx=\"", at + 1)) {
    x.push_back(std::stod(drawing.substr(at + 12)));
    y.push_back(std::stod(drawing.substr(drawing.find("cy=\"", at) + 4)));
  }
  ASSERT_EQ(x.size(), 3u);
  EXPECT_NEAR(x[1] - x[0], x[2] - x[1], 0.11);
  EXPECT_NEAR(y[0] - y[1], y[1] - y[2], 0.11);
  EXPECT_GT(y[0], y[2]);  // up is slower
}

TEST(LogChart, OfNothingIsNothingAndOfOnePointIsDrawn) {
  EXPECT_EQ(svg({}), "");
  const LogChart one{
      .title = "t", .x_name = "x", .y_name = "y", .lines = {{"a", "a", {{8, 5}}}}, .mark_x = 8, .mark_name = "m"};
  EXPECT_EQ(xml_fault(svg(one)), "");
  EXPECT_THAT(svg(one), Not(HasSubstr("nan")));
  EXPECT_THAT(svg(one), Not(HasSubstr("inf")));
}

}  // namespace
}  // namespace awq::bench
