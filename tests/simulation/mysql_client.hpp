// MySQL's client library, as far as klined calls it, on top of the simulated server: the program's own connections,
// statements, transactions and error codes are what is tested.
#pragma once

#include "database.hpp"

namespace klined::simulation {

// All connections opened from here on lead to this server.
void set_server(Database* server);

}  // namespace klined::simulation
