// builtin_text.txt as bytes of the library. The assembler copies the file, which takes no time and no memory however
// long it is; a string literal of that size is beyond what compilers promise to take. CMake rebuilds when the text
// changes.
#include "io/corpus.h"

asm(R"(
  .pushsection .rodata
  .hidden awq_builtin_text_begin, awq_builtin_text_end
  .global awq_builtin_text_begin, awq_builtin_text_end
awq_builtin_text_begin:
  .incbin ")" AWQ_BUILTIN_TEXT R"("
awq_builtin_text_end:
  .byte 0
  .popsection
)");

extern "C" const char awq_builtin_text_begin[], awq_builtin_text_end[];

namespace awq::io {

std::string_view builtin_text() {
  return {awq_builtin_text_begin, static_cast<size_t>(awq_builtin_text_end - awq_builtin_text_begin)};
}

}  // namespace awq::io
