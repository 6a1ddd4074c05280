#ifndef JUMUN_CLibPQ_SHIM_H
#define JUMUN_CLibPQ_SHIM_H

#include <postgresql/libpq-fe.h>

#endif
