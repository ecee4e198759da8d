# Writes a C++ source that holds the SQL files as text: klined::embedded_sql(name) finds them by file name.
set(out "// Generated from sql/ by cmake/EmbedSql.cmake.\n#include <string_view>\n\nnamespace klined {\n\nstd::string_view embedded_sql(std::string_view name) {\n")
foreach(file ${FILES})
  get_filename_component(name ${file} NAME)
  file(READ ${file} text)
  string(APPEND out "  if (name == \"${name}\") return R\"klined_sql(${text})klined_sql\";\n")
endforeach()
string(APPEND out "  return {};\n}\n\n}  // namespace klined\n")
file(WRITE ${OUT} "${out}")
