#include "python/bindings.h"

NB_MODULE(_core, module) { sparrot::BindStrips(module); }
