#include "python/bindings.h"

NB_MODULE(_core, module) {
  sparrot::BindDecoders(module);
  sparrot::BindKernels(module);
  sparrot::BindLanguage(module);
  sparrot::BindNetwork(module);
  sparrot::BindProducts(module);
  sparrot::BindStrips(module);
  sparrot::BindTransducer(module);
}
