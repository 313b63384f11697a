// The two streams: standard output carries the answer, standard error everything else. A reader who has had enough
// (`| head`) ends the answer quietly; a disk that is full under a redirected answer is an error.
#pragma once
#include <string>
#include <string_view>

namespace awq::cli {

void answer(std::string_view text);  // to standard output, as is
void finish_answer();                // flushes; Error(kNoRoom) when the answer did not get out
bool reader_is_gone();               // standard output is a closed pipe: no point in going on

void set_quiet(bool quiet);              // silences note(), not warn()
void note(std::string_view line);        // a line on standard error
void warn(std::string_view line);        // "warning: ..."
void show_error(std::string_view text);  // "error: ..."

bool stderr_is_terminal();
int terminal_columns();                   // of standard error; 100 when unknown
void draw_status(std::string_view text);  // replaces the terminal's current line; empty erases it

}  // namespace awq::cli
