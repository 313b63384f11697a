# Writes HEADER with the commit of SOURCE, "+" appended when files differ from it; "unknown" outside a checkout.
execute_process(COMMAND git -C ${SOURCE} describe --always --dirty=+ --abbrev=10 --exclude=*
  OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed)
  set(commit unknown)
endif()
file(CONFIGURE OUTPUT ${HEADER} CONTENT "#pragma once\ninline constexpr char kBuildCommit[] = \"${commit}\";\n")
