#ifndef JUMUN_CHiredis_SHIM_H
#define JUMUN_CHiredis_SHIM_H

#include <hiredis/hiredis.h>

#endif
