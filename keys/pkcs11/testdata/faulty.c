// A PKCS#11 module in front of another one, REAL, that fails as the environment
// variable FAULTY says while it is set: "C_Sign=0x32" returns that value, "C_Sign=hang" does
// not return, "C_Sign=flip" changes a bit of the result, "C_GetTokenInfo=0x10000" adds
// flags. Each call of C_Login is noted in the file LOGINS.
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "pkcs11go.h"

static CK_FUNCTION_LIST real, list;

static const char *fault(const char *name) {
	const char *f = getenv("FAULTY");
	size_t n = strlen(name);
	return f != NULL && strncmp(f, name, n) == 0 && f[n] == '=' ? f + n + 1 : NULL;
}

static int failed(const char *name, CK_RV *rv) {
	const char *f = fault(name);
	if (f == NULL) return 0;
	if (strcmp(f, "hang") == 0) {
		while (fault(name) != NULL) usleep(1000);
		return 0;
	}
	if (strncmp(f, "0x", 2) != 0) return 0;
	*rv = strtoul(f, NULL, 16);
	return 1;
}

#define FAILS(name) do { CK_RV rv; if (failed(name, &rv)) return rv; } while (0)

static CK_RV openSession(CK_SLOT_ID a, CK_FLAGS b, CK_VOID_PTR c, CK_NOTIFY d, CK_SESSION_HANDLE_PTR e) {
	FAILS("C_OpenSession");
	return real.C_OpenSession(a, b, c, d, e);
}

static CK_RV login(CK_SESSION_HANDLE a, CK_USER_TYPE b, CK_UTF8CHAR_PTR c, CK_ULONG d) {
	FILE *f = fopen(getenv("LOGINS"), "a");
	if (f != NULL) {
		fprintf(f, "%lu\n", b);
		fclose(f);
	}
	FAILS("C_Login");
	return real.C_Login(a, b, c, d);
}

static CK_RV findObjectsInit(CK_SESSION_HANDLE a, CK_ATTRIBUTE_PTR b, CK_ULONG c) {
	FAILS("C_FindObjectsInit");
	return real.C_FindObjectsInit(a, b, c);
}

static CK_RV signInit(CK_SESSION_HANDLE a, CK_MECHANISM_PTR b, CK_OBJECT_HANDLE c) {
	FAILS("C_SignInit");
	return real.C_SignInit(a, b, c);
}

static CK_RV sign(CK_SESSION_HANDLE a, CK_BYTE_PTR b, CK_ULONG c, CK_BYTE_PTR d, CK_ULONG_PTR e) {
	FAILS("C_Sign");
	CK_RV rv = real.C_Sign(a, b, c, d, e);
	const char *f = fault("C_Sign");
	if (f != NULL && d != NULL && rv == CKR_OK) {
		if (strcmp(f, "flip") == 0) d[10] ^= 1;
		if (strcmp(f, "short") == 0) *e -= 1;
	}
	return rv;
}

static CK_RV getTokenInfo(CK_SLOT_ID a, CK_TOKEN_INFO_PTR b) {
	CK_RV rv = real.C_GetTokenInfo(a, b);
	const char *f = fault("C_GetTokenInfo");
	if (f != NULL && rv == CKR_OK) b->flags |= strtoul(f, NULL, 16);
	return rv;
}

CK_RV C_GetFunctionList(CK_FUNCTION_LIST_PTR_PTR out) {
	void *module = dlopen(REAL, RTLD_LAZY);
	if (module == NULL) return CKR_GENERAL_ERROR;
	CK_C_GetFunctionList get = (CK_C_GetFunctionList)dlsym(module, "C_GetFunctionList");
	CK_FUNCTION_LIST_PTR p;
	CK_RV rv = get(&p);
	if (rv != CKR_OK) return rv;
	real = *p;
	list = real;
	list.C_OpenSession = openSession;
	list.C_Login = login;
	list.C_FindObjectsInit = findObjectsInit;
	list.C_SignInit = signInit;
	list.C_Sign = sign;
	list.C_GetTokenInfo = getTokenInfo;
	*out = &list;
	return CKR_OK;
}
