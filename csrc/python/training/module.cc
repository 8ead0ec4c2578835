#include "python/training/bindings.h"

NB_MODULE(_training, module) { sparrot::BindLattice(module); }
