/* SPDX-License-Identifier: MIT
 *
 * What things are called: outcomes, counters, actions, decisions, verdicts, errors.
 * Owns the word tables; every one but the errnos is made from an X-macro of cowlab.h.
 * Never keeps state.  Read parse.h next.
 */
#include "event/words.h"

#include <errno.h>

const struct word verb_words[COW_VERB_COUNT] = {
#define X(id, word, actor, operands, help) WORD(word),
	COW_EVENTS(X)
#undef X
};

const struct event_row event_rows[COW_VERB_COUNT] = {
#define X(id, word, actor, operands, help) { operands, actor },
	COW_EVENTS(X)
#undef X
};

const struct word outcome_words[COW_OUTCOME_COUNT] = {
#define X(id, name) WORD(name),
	COW_OUTCOMES(X)
#undef X
};

const struct word advice_words[COW_ADVICE_COUNT] = {
#define X(id, name) WORD(name),
	COW_ADVICES(X)
#undef X
};

const struct word counter_words[COW_COUNTER_COUNT] = {
#define X(id, name, what) WORD(name),
	COW_COUNTERS(X)
#undef X
};

const struct word verdict_words[COW_VERDICT_COUNT] = {
#define X(id, word, what) WORD(word),
	COW_VERDICTS(X)
#undef X
};

const struct word fact_words[FACT_COUNT] = {
#define X(id, word, operand) WORD(word),
	SCENARIO_FACTS(X)
#undef X
};

const struct word option_words[OPTION_COUNT] = {
#define X(id, word) WORD(word),
	SCENARIO_OPTIONS(X)
#undef X
};

const char fact_operands[FACT_COUNT] = {
#define X(id, word, operand) operand,
	SCENARIO_FACTS(X)
#undef X
};

static const char *const action_names[COW_ACTION_COUNT] = {
#define X(id, name, what) name,
	COW_ACTIONS(X)
#undef X
};

static const char *const decision_keys[COW_DECISION_COUNT] = {
#define X(id, key, question) key,
	COW_DECISIONS(X)
#undef X
};

/* Errors that the library returns, of its own or of the system's: errno, name, sentence. */
#define ERRNOS(X)                                                                        \
	X(EPERM, "eperm", "the operation is not permitted")                                  \
	X(ENOENT, "enoent", "there is no such file")                                         \
	X(ESRCH, "esrch", "the handle is stale: what it named is gone")                      \
	X(EINTR, "eintr", "the call was interrupted")                                        \
	X(EIO, "eio", "reading or writing a device went wrong")                              \
	X(ENXIO, "enxio", "there is no such device or address")                              \
	X(EBADF, "ebadf", "the reference or file does not allow that access")                \
	X(EAGAIN, "eagain", "it cannot be done now")                                         \
	X(ENOMEM, "enomem", "memory ran out, or nothing is mapped there")                    \
	X(EACCES, "eacces", "permission is denied")                                          \
	X(EFAULT, "efault", "the address is not mapped so that this access is allowed")      \
	X(EBUSY, "ebusy", "it is in use")                                                    \
	X(EEXIST, "eexist", "something is there already")                                    \
	X(EXDEV, "exdev", "the handle belongs to another machine")                           \
	X(ENODEV, "enodev", "there is no such device")                                       \
	X(ENOTDIR, "enotdir", "a part of the path is not a directory")                       \
	X(EISDIR, "eisdir", "it is a directory")                                             \
	X(EINVAL, "einval", "an argument is not valid")                                      \
	X(ENFILE, "enfile", "the system has too many open files")                            \
	X(EMFILE, "emfile", "the process has too many open files")                           \
	X(EFBIG, "efbig", "the file is too large")                                           \
	X(ENOSPC, "enospc", "there is no space left")                                        \
	X(ESPIPE, "espipe", "a pipe has no position")                                        \
	X(EROFS, "erofs", "the file system is read-only")                                    \
	X(EPIPE, "epipe", "nobody reads the other end of the pipe")                          \
	X(ERANGE, "erange", "the result is out of range")                                    \
	X(ENAMETOOLONG, "enametoolong", "the path is too long")                              \
	X(ENOSYS, "enosys", "not modelled yet")                                              \
	X(ELOOP, "eloop", "the path has too many symbolic links")                            \
	X(EBADMSG, "ebadmsg", "the snapshot is damaged, truncated or of another version")    \
	X(EOVERFLOW, "eoverflow", "the value is too large for its type")                     \
	X(EOPNOTSUPP, "eopnotsupp", "the operation is not supported")                        \
	X(ETIMEDOUT, "etimedout", "it took too long")                                        \
	X(ESTALE, "estale", "the file handle is stale")                                      \
	X(EUCLEAN, "euclean", "the machine check found a fault of the program itself")       \
	X(EDQUOT, "edquot", "the disk quota is used up")                                     \
	X(ECANCELED, "ecanceled", "the operation was cancelled")

/* The rest of Linux's errnos: a scenario may name them, the library never returns them. */
#define OTHER_ERRNOS(X)                                                                  \
	X(E2BIG, "e2big") X(ENOEXEC, "enoexec") X(ECHILD, "echild") X(ENOTBLK, "enotblk")    \
	X(ENOTTY, "enotty") X(ETXTBSY, "etxtbsy") X(EMLINK, "emlink") X(EDOM, "edom")        \
	X(EDEADLK, "edeadlk") X(ENOLCK, "enolck") X(ENOTEMPTY, "enotempty")                  \
	X(ENOMSG, "enomsg") X(EIDRM, "eidrm") X(ECHRNG, "echrng") X(EL2NSYNC, "el2nsync")    \
	X(EL3HLT, "el3hlt") X(EL3RST, "el3rst") X(ELNRNG, "elnrng") X(EUNATCH, "eunatch")    \
	X(ENOCSI, "enocsi") X(EL2HLT, "el2hlt") X(EBADE, "ebade") X(EBADR, "ebadr")          \
	X(EXFULL, "exfull") X(ENOANO, "enoano") X(EBADRQC, "ebadrqc") X(EBADSLT, "ebadslt")  \
	X(EBFONT, "ebfont") X(ENOSTR, "enostr") X(ENODATA, "enodata") X(ETIME, "etime")      \
	X(ENOSR, "enosr") X(ENONET, "enonet") X(ENOPKG, "enopkg") X(EREMOTE, "eremote")      \
	X(ENOLINK, "enolink") X(EADV, "eadv") X(ESRMNT, "esrmnt") X(ECOMM, "ecomm")          \
	X(EPROTO, "eproto") X(EMULTIHOP, "emultihop") X(EDOTDOT, "edotdot")                  \
	X(ENOTUNIQ, "enotuniq") X(EBADFD, "ebadfd") X(EREMCHG, "eremchg")                    \
	X(ELIBACC, "elibacc") X(ELIBBAD, "elibbad") X(ELIBSCN, "elibscn")                    \
	X(ELIBMAX, "elibmax") X(ELIBEXEC, "elibexec") X(EILSEQ, "eilseq")                    \
	X(ERESTART, "erestart") X(ESTRPIPE, "estrpipe") X(EUSERS, "eusers")                  \
	X(ENOTSOCK, "enotsock") X(EDESTADDRREQ, "edestaddrreq") X(EMSGSIZE, "emsgsize")      \
	X(EPROTOTYPE, "eprototype") X(ENOPROTOOPT, "enoprotoopt")                            \
	X(EPROTONOSUPPORT, "eprotonosupport") X(ESOCKTNOSUPPORT, "esocktnosupport")          \
	X(EPFNOSUPPORT, "epfnosupport") X(EAFNOSUPPORT, "eafnosupport")                      \
	X(EADDRINUSE, "eaddrinuse") X(EADDRNOTAVAIL, "eaddrnotavail")                        \
	X(ENETDOWN, "enetdown") X(ENETUNREACH, "enetunreach") X(ENETRESET, "enetreset")      \
	X(ECONNABORTED, "econnaborted") X(ECONNRESET, "econnreset") X(ENOBUFS, "enobufs")    \
	X(EISCONN, "eisconn") X(ENOTCONN, "enotconn") X(ESHUTDOWN, "eshutdown")              \
	X(ETOOMANYREFS, "etoomanyrefs") X(ECONNREFUSED, "econnrefused")                      \
	X(EHOSTDOWN, "ehostdown") X(EHOSTUNREACH, "ehostunreach") X(EALREADY, "ealready")    \
	X(EINPROGRESS, "einprogress") X(ENOTNAM, "enotnam") X(ENAVAIL, "enavail")            \
	X(EISNAM, "eisnam") X(EREMOTEIO, "eremoteio") X(ENOMEDIUM, "enomedium")              \
	X(EMEDIUMTYPE, "emediumtype") X(ENOKEY, "enokey") X(EKEYEXPIRED, "ekeyexpired")      \
	X(EKEYREVOKED, "ekeyrevoked") X(EKEYREJECTED, "ekeyrejected")                        \
	X(EOWNERDEAD, "eownerdead") X(ENOTRECOVERABLE, "enotrecoverable")                    \
	X(ERFKILL, "erfkill") X(EHWPOISON, "ehwpoison")                                      \
	X(EWOULDBLOCK, "ewouldblock") X(EDEADLOCK, "edeadlock") X(ENOTSUP, "enotsup")

/* An errno with two names has its canonical one first. */
const struct errno_row errno_rows[] = {
#define X(number, name, sentence) { WORD(name), number, sentence },
	ERRNOS(X)
#undef X
#define X(number, name) { WORD(name), number, NULL },
	OTHER_ERRNOS(X)
#undef X
};

const uint32_t errno_row_count = sizeof(errno_rows) / sizeof(errno_rows[0]);

static const struct errno_row *errno_find(int error)
{
	for (uint32_t i = 0; i < errno_row_count; i++)
		if (errno_rows[i].number == error || errno_rows[i].number == -(int64_t)error)
			return &errno_rows[i];
	return NULL;
}

const char *cow_version(void)
{
	return COW_VERSION;
}

const char *cow_strerror(int error)
{
	const struct errno_row *row = errno_find(error);

	if (!error)
		return "no error";
	return row && row->sentence ? row->sentence : "an error of the system";
}

const char *cow_errno_name(int error)
{
	const struct errno_row *row = errno_find(error);

	return row ? row->word.text : NULL;
}

/* The enums may be signed or not; the cast makes a negative one too large. */
const char *cow_outcome_name(enum cow_outcome outcome)
{
	return (unsigned)outcome < COW_OUTCOME_COUNT ? outcome_words[outcome].text : NULL;
}

const char *cow_counter_name(enum cow_counter counter)
{
	return (unsigned)counter < COW_COUNTER_COUNT ? counter_words[counter].text : NULL;
}

const char *cow_verdict_word(unsigned bit)
{
	return bit < COW_VERDICT_COUNT ? verdict_words[bit].text : NULL;
}

const char *cow_action_name(enum cow_action action)
{
	return (unsigned)action < COW_ACTION_COUNT ? action_names[action] : NULL;
}

const char *cow_decision_key(enum cow_decision_id id)
{
	return (unsigned)id < COW_DECISION_COUNT ? decision_keys[id] : NULL;
}
