/*
 * row_error.c
 *	  Errors of logging a row that are about the row.
 */
#include "postgres.h"

#include "omnichannel.h"
#include "contact/tracked.h"

/*
 * is_about_row returns whether an error says that a row cannot be logged, and not that the transaction or the server
 * cannot go on, or has to begin anew.
 *
 * What triggers and constraints on the tables raise is about the row, whatever SQLSTATE they choose; so is 55000, as of
 * a customer who was erased.
 */
bool
is_about_row(int sqlstate)
{
	switch (sqlstate)
	{
		case ERRCODE_OBJECT_IN_USE:
		case ERRCODE_LOCK_NOT_AVAILABLE:
			return false;
	}
	switch (ERRCODE_TO_CATEGORY(sqlstate))
	{
		case ERRCODE_INVALID_TRANSACTION_STATE:
		case ERRCODE_TRANSACTION_ROLLBACK:
		case ERRCODE_INSUFFICIENT_RESOURCES:
		case ERRCODE_OPERATOR_INTERVENTION:
		case ERRCODE_SYSTEM_ERROR:
		case MAKE_SQLSTATE('7', '2', '0', '0', '0'): /* a snapshot that is too old */
		case ERRCODE_INTERNAL_ERROR:
			return false;
		default:
			return true;
	}
}

/* row_allows makes something of a row in a subtransaction and the current context; returns whether that can be done. */
bool
row_allows(void (*make)(void *row), void *row)
{
	ErrorData *error = subtransaction_try(make, row);

	if (error == NULL)
		return true;
	if (!is_about_row(error->sqlerrcode))
		ReThrowError(error);
	FreeErrorData(error);
	return false;
}
