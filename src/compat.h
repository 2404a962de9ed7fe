/*
 * compat.h
 *	  The differences between PostgreSQL 14 and 18, in one place.
 *
 * Every test of PG_VERSION_NUM stands here; the rest of the code is written for the newest form.
 */
#ifndef OMNICHANNEL_COMPAT_H
#define OMNICHANNEL_COMPAT_H

#include "fmgr.h"
#include "storage/proc.h"

#if PG_VERSION_NUM < 140000
#error "omnichannel needs PostgreSQL 14 or later"
#endif

/* The local transaction id moved into the virtual one in 17. */
#if PG_VERSION_NUM >= 170000
#define MY_LXID (MyProc->vxid.lxid)
#else
#define MY_LXID (MyProc->lxid)
#endif

/* foreach_ptr and its kin arrived in 17. */
#ifndef foreach_ptr
#define foreach_ptr(type, var, lst)                                                                                    \
	for (type *var = NULL, *var##__outer = (type *) 1; var##__outer; var##__outer = NULL)                              \
		for (ListCell *var##__cell = list_head(lst);                                                                   \
			 var##__cell != NULL && (var = lfirst(var##__cell), true);                                                 \
			 var##__cell = lnext(lst, var##__cell))
#endif

/*
 * Declares a function that SQL calls. Under hidden visibility the symbol itself must be exported too, which
 * PG_FUNCTION_INFO_V1 does from 16 on only.
 */
#define SQL_FUNCTION(name)                                                                                             \
	extern PGDLLEXPORT Datum name(PG_FUNCTION_ARGS);                                                                   \
	PG_FUNCTION_INFO_V1(name)

#endif /* OMNICHANNEL_COMPAT_H */
