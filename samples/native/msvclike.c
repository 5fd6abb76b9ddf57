/*
 * msvclike.c: a software device that runs small programs, built as the WDK builds drivers.
 *
 * \Device\MsvcLike0 (\DosDevices\MsvcLike0). IOCTL_MSVCLIKE_RUN takes a program for a machine with a stack of 32-bit numbers, at most
 * MSVCLIKE_LONGEST bytes, and returns the number that is on top of the stack at the end. An instruction is one byte; PUSH is followed by its
 * number, CALL by the number of a routine, 0 to 3: factorial, integer square root, count of bits, reversed bytes.
 *
 * What makes it like a driver of the Microsoft compiler is in the image: calls through pointers are made by control flow guard, which knows
 * the routines that may be called (the load configuration lists them); a routine with an array on the stack checks the security cookie before
 * it returns; the switch is a table of jumps in read-only data; routines that end with a call end with a jump; memcpy and memset come from
 * the kernel. build.sh compiles it for that compiler's target.
 *
 * Pattern: "Handling IRP_MJ_DEVICE_CONTROL Requests", "Buffer Descriptions for I/O Control Codes".
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/buffer-descriptions-for-i-o-control-codes
 */
#include "wdk.h"
#include "msvc.h"

#define MSVCLIKE_DEVICE_NAME L"\\Device\\MsvcLike0"
#define MSVCLIKE_LINK_NAME L"\\DosDevices\\MsvcLike0"
#define MSVCLIKE_LONGEST 64
#define MSVCLIKE_DEPTH 16

#define IOCTL_MSVCLIKE_RUN CTL_CODE(FILE_DEVICE_UNKNOWN, 0x810, METHOD_BUFFERED, FILE_ANY_ACCESS)

enum { OpEnd, OpPush, OpDrop, OpDup, OpSwap, OpAdd, OpSub, OpMul, OpDiv, OpAnd, OpOr, OpXor, OpNot, OpCall, OpCount };

typedef ULONG MSVCLIKE_ROUTINE(ULONG Value);

DRIVER_INITIALIZE DriverEntry;
DRIVER_UNLOAD MsvcLikeUnload;
DRIVER_DISPATCH MsvcLikeDispatchCreateClose;
DRIVER_DISPATCH MsvcLikeDispatchControl;

static MSVCLIKE_ROUTINE MsvcLikeFactorial;
static MSVCLIKE_ROUTINE MsvcLikeRoot;
static MSVCLIKE_ROUTINE MsvcLikeBits;
static MSVCLIKE_ROUTINE MsvcLikeReverse;
static NTSTATUS MsvcLikeRun(const UCHAR *Program, ULONG Length, PULONG Result);
static NTSTATUS MsvcLikeComplete(PIRP Irp, NTSTATUS Status, ULONG_PTR Information);

/* Not constant: the compiler must not see through the calls. */
static MSVCLIKE_ROUTINE *volatile MsvcLikeRoutines[] = {MsvcLikeFactorial, MsvcLikeRoot, MsvcLikeBits, MsvcLikeReverse};

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING deviceName = RTL_CONSTANT_STRING(MSVCLIKE_DEVICE_NAME);
    UNICODE_STRING linkName = RTL_CONSTANT_STRING(MSVCLIKE_LINK_NAME);
    PDEVICE_OBJECT deviceObject;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(RegistryPath);

    status = IoCreateDevice(DriverObject, 0, &deviceName, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &deviceObject);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    status = IoCreateSymbolicLink(&linkName, &deviceName);
    if (!NT_SUCCESS(status)) {
        IoDeleteDevice(deviceObject);
        return status;
    }

    DriverObject->MajorFunction[IRP_MJ_CREATE] = MsvcLikeDispatchCreateClose;
    DriverObject->MajorFunction[IRP_MJ_CLOSE] = MsvcLikeDispatchCreateClose;
    DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = MsvcLikeDispatchControl;
    DriverObject->DriverUnload = MsvcLikeUnload;

    deviceObject->Flags &= ~DO_DEVICE_INITIALIZING;

    return STATUS_SUCCESS;
}

VOID MsvcLikeUnload(PDRIVER_OBJECT DriverObject)
{
    UNICODE_STRING linkName = RTL_CONSTANT_STRING(MSVCLIKE_LINK_NAME);

    IoDeleteSymbolicLink(&linkName);
    IoDeleteDevice(DriverObject->DeviceObject);
}

NTSTATUS MsvcLikeDispatchCreateClose(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    UNREFERENCED_PARAMETER(DeviceObject);

    return MsvcLikeComplete(Irp, STATUS_SUCCESS, 0);
}

NTSTATUS MsvcLikeDispatchControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
    ULONG result;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(DeviceObject);

    if (location->Parameters.DeviceIoControl.IoControlCode != IOCTL_MSVCLIKE_RUN) {
        return MsvcLikeComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
    }

    if (location->Parameters.DeviceIoControl.OutputBufferLength < sizeof(result)) {
        return MsvcLikeComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
    }

    status = MsvcLikeRun(Irp->AssociatedIrp.SystemBuffer, location->Parameters.DeviceIoControl.InputBufferLength, &result);
    if (!NT_SUCCESS(status)) {
        return MsvcLikeComplete(Irp, status, 0);
    }

    *(ULONG *)Irp->AssociatedIrp.SystemBuffer = result;

    return MsvcLikeComplete(Irp, STATUS_SUCCESS, sizeof(result));
}

static __attribute__((noinline)) NTSTATUS MsvcLikeComplete(PIRP Irp, NTSTATUS Status, ULONG_PTR Information)
{
    Irp->IoStatus.Status = Status;
    Irp->IoStatus.Information = Information;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);

    return Status;
}

static __attribute__((noinline)) NTSTATUS MsvcLikeRun(const UCHAR *Program, ULONG Length, PULONG Result)
{
    UCHAR program[MSVCLIKE_LONGEST + 2]; /* behind the program OpEnd, and an operand for the last instruction */
    ULONG stack[MSVCLIKE_DEPTH];
    ULONG depth = 0;
    ULONG at = 0;
    ULONG top;

    if (Length > MSVCLIKE_LONGEST) {
        return STATUS_INVALID_BUFFER_SIZE;
    }

    RtlZeroMemory(program, sizeof(program));
    RtlCopyMemory(program, Program, Length);

    for (;;) {
        UCHAR operation = program[at++];
        ULONG needed = operation >= OpAdd && operation <= OpXor ? 2 : operation == OpSwap ? 2 : operation == OpPush ? 0 : 1;

        if (operation >= OpCount || depth < needed) {
            return STATUS_INVALID_PARAMETER;
        }

        top = depth > 0 ? stack[depth - 1] : 0;

        switch (operation) {
        case OpEnd:
            *Result = top;
            return STATUS_SUCCESS;
        case OpPush:
        case OpDup:
            if (depth == MSVCLIKE_DEPTH) {
                return STATUS_INVALID_PARAMETER;
            }
            stack[depth++] = operation == OpPush ? program[at++] : top;
            break;
        case OpDrop:
            depth--;
            break;
        case OpSwap:
            stack[depth - 1] = stack[depth - 2];
            stack[depth - 2] = top;
            break;
        case OpAdd:
            stack[--depth - 1] += top;
            break;
        case OpSub:
            stack[--depth - 1] -= top;
            break;
        case OpMul:
            stack[--depth - 1] *= top;
            break;
        case OpDiv:
            if (top == 0) {
                return STATUS_INTEGER_DIVIDE_BY_ZERO;
            }
            stack[--depth - 1] /= top;
            break;
        case OpAnd:
            stack[--depth - 1] &= top;
            break;
        case OpOr:
            stack[--depth - 1] |= top;
            break;
        case OpXor:
            stack[--depth - 1] ^= top;
            break;
        case OpNot:
            stack[depth - 1] = ~top;
            break;
        case OpCall:
            if (program[at] >= RTL_NUMBER_OF(MsvcLikeRoutines)) {
                return STATUS_INVALID_PARAMETER;
            }
            stack[depth - 1] = MsvcLikeRoutines[program[at++]](top);
            break;
        }
    }
}

static ULONG MsvcLikeFactorial(ULONG Value)
{
    ULONG product = 1;

    while (Value > 1) {
        product *= Value--;
    }

    return product;
}

static ULONG MsvcLikeRoot(ULONG Value)
{
    ULONG root = 0;
    ULONG bit = 1UL << 15;

    for (; bit != 0; bit >>= 1) {
        if ((root | bit) * (root | bit) <= Value) {
            root |= bit;
        }
    }

    return root;
}

static ULONG MsvcLikeBits(ULONG Value)
{
    ULONG count = 0;

    for (; Value != 0; Value &= Value - 1) {
        count++;
    }

    return count;
}

static ULONG MsvcLikeReverse(ULONG Value)
{
    return __builtin_bswap32(Value);
}
