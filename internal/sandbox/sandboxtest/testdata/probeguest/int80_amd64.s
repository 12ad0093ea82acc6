#include "textflag.h"

// func int80(nr, a, b uintptr) int32
TEXT ·int80(SB), NOSPLIT, $0-28
	MOVQ nr+0(FP), AX
	MOVQ a+8(FP), BX
	MOVQ b+16(FP), CX
	INT $0x80
	MOVL AX, ret+24(FP)
	RET
