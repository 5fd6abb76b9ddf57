/*
 * seh.c: a software device that handles bad buffers and bad numbers by structured exceptions.
 *
 * \Device\Seh0 (\DosDevices\Seh0) takes its control requests with METHOD_NEITHER: the driver is given user addresses as they are, and
 * whatever lies there can be gone at any time. So every access is inside __try; ProbeForRead and ProbeForWrite only make sure that the
 * addresses are user addresses.
 *
 *   IOCTL_SEH_SUM      input SEH_RANGE: adds up the bytes of the range, which is user memory too; output ULONG
 *   IOCTL_SEH_DIVIDE   input two LONGs: divides the first by the second; output LONG. The filter takes division by zero and overflow only
 *   IOCTL_SEH_RAISE    input NTSTATUS: a routine two calls down raises it; a __finally on the way releases the lock
 *   IOCTL_SEH_RETRY    input ULONG: raises an exception from which the filter continues that many times; output ULONG, the count
 *   IOCTL_SEH_CLEANUP  no input: leaves __try blocks by return, by an exception out of a __finally, and at their end; output ULONG, a digit
 *                      for each handler in the order in which they ran
 *
 * Pattern: "Handling exceptions", "Errors in referencing user-space addresses".
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/handling-exceptions
 *   https://learn.microsoft.com/windows-hardware/drivers/kernel/errors-in-referencing-user-space-addresses
 */
#include "wdk.h"

#define SEH_DEVICE_NAME L"\\Device\\Seh0"
#define SEH_LINK_NAME L"\\DosDevices\\Seh0"
#define SEH_LARGEST_RANGE 0x10000
#define SEH_MOST_RETRIES 1000

#define IOCTL_SEH_SUM CTL_CODE(FILE_DEVICE_UNKNOWN, 0x800, METHOD_NEITHER, FILE_ANY_ACCESS)
#define IOCTL_SEH_DIVIDE CTL_CODE(FILE_DEVICE_UNKNOWN, 0x801, METHOD_NEITHER, FILE_ANY_ACCESS)
#define IOCTL_SEH_RAISE CTL_CODE(FILE_DEVICE_UNKNOWN, 0x802, METHOD_NEITHER, FILE_ANY_ACCESS)
#define IOCTL_SEH_RETRY CTL_CODE(FILE_DEVICE_UNKNOWN, 0x803, METHOD_NEITHER, FILE_ANY_ACCESS)
#define IOCTL_SEH_CLEANUP CTL_CODE(FILE_DEVICE_UNKNOWN, 0x804, METHOD_NEITHER, FILE_ANY_ACCESS)

#define STATUS_SEH_RETRY ((NTSTATUS)0xE0534548)

typedef struct _SEH_RANGE {
    PUCHAR Start; /* user memory */
    ULONG Length;
} SEH_RANGE, *PSEH_RANGE;

typedef struct _SEH_EXTENSION {
    KMUTEX Lock;
} SEH_EXTENSION, *PSEH_EXTENSION;

DRIVER_INITIALIZE DriverEntry;
DRIVER_UNLOAD SehUnload;
DRIVER_DISPATCH SehDispatchCreateClose;
DRIVER_DISPATCH SehDispatchControl;

/* ntoskrnl exports it; the headers of mingw-w64 leave it to the compiler's library. */
NTSYSAPI VOID NTAPI RtlRaiseException(PEXCEPTION_RECORD ExceptionRecord);

static NTSTATUS SehSum(PVOID Input, ULONG InputLength, PULONG Sum);
static NTSTATUS SehDivide(PVOID Input, ULONG InputLength, PLONG Quotient);
static NTSTATUS SehRaise(PSEH_EXTENSION Extension, PVOID Input, ULONG InputLength);
static NTSTATUS SehRetry(PVOID Input, ULONG InputLength, PULONG Count);
static NTSTATUS SehCleanup(PULONG Order);
static NTSTATUS SehStore(PVOID Output, ULONG OutputLength, ULONG Value, PULONG_PTR Information);

NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
{
    UNICODE_STRING deviceName = RTL_CONSTANT_STRING(SEH_DEVICE_NAME);
    UNICODE_STRING linkName = RTL_CONSTANT_STRING(SEH_LINK_NAME);
    PDEVICE_OBJECT deviceObject;
    PSEH_EXTENSION extension;
    NTSTATUS status;

    UNREFERENCED_PARAMETER(RegistryPath);

    status = IoCreateDevice(
        DriverObject, sizeof(SEH_EXTENSION), &deviceName, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, FALSE, &deviceObject);
    if (!NT_SUCCESS(status)) {
        return status;
    }

    status = IoCreateSymbolicLink(&linkName, &deviceName);
    if (!NT_SUCCESS(status)) {
        IoDeleteDevice(deviceObject);
        return status;
    }

    extension = deviceObject->DeviceExtension;
    KeInitializeMutex(&extension->Lock, 0);

    DriverObject->MajorFunction[IRP_MJ_CREATE] = SehDispatchCreateClose;
    DriverObject->MajorFunction[IRP_MJ_CLOSE] = SehDispatchCreateClose;
    DriverObject->MajorFunction[IRP_MJ_DEVICE_CONTROL] = SehDispatchControl;
    DriverObject->DriverUnload = SehUnload;

    deviceObject->Flags &= ~DO_DEVICE_INITIALIZING;

    return STATUS_SUCCESS;
}

VOID SehUnload(PDRIVER_OBJECT DriverObject)
{
    UNICODE_STRING linkName = RTL_CONSTANT_STRING(SEH_LINK_NAME);

    IoDeleteSymbolicLink(&linkName);
    IoDeleteDevice(DriverObject->DeviceObject);
}

NTSTATUS SehDispatchCreateClose(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    UNREFERENCED_PARAMETER(DeviceObject);

    Irp->IoStatus.Status = STATUS_SUCCESS;
    Irp->IoStatus.Information = 0;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);

    return STATUS_SUCCESS;
}

/* Called in the requesting thread, below DISPATCH_LEVEL: only there do user addresses mean anything. */
NTSTATUS SehDispatchControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
{
    PSEH_EXTENSION extension = DeviceObject->DeviceExtension;
    PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);
    PVOID input = location->Parameters.DeviceIoControl.Type3InputBuffer;
    ULONG inputLength = location->Parameters.DeviceIoControl.InputBufferLength;
    ULONG outputLength = location->Parameters.DeviceIoControl.OutputBufferLength;
    ULONG result = 0;
    NTSTATUS status;

    Irp->IoStatus.Information = 0;

    switch (location->Parameters.DeviceIoControl.IoControlCode) {
    case IOCTL_SEH_SUM:
        status = SehSum(input, inputLength, &result);
        break;
    case IOCTL_SEH_DIVIDE:
        status = SehDivide(input, inputLength, (PLONG)&result);
        break;
    case IOCTL_SEH_RAISE:
        status = SehRaise(extension, input, inputLength);
        outputLength = 0;
        break;
    case IOCTL_SEH_RETRY:
        status = SehRetry(input, inputLength, &result);
        break;
    case IOCTL_SEH_CLEANUP:
        status = SehCleanup(&result);
        break;
    default:
        status = STATUS_INVALID_DEVICE_REQUEST;
        break;
    }

    if (NT_SUCCESS(status) && outputLength != 0) {
        status = SehStore(Irp->UserBuffer, outputLength, result, &Irp->IoStatus.Information);
    }

    Irp->IoStatus.Status = status;
    IoCompleteRequest(Irp, IO_NO_INCREMENT);

    return status;
}

static NTSTATUS SehStore(PVOID Output, ULONG OutputLength, ULONG Value, PULONG_PTR Information)
{
    if (OutputLength < sizeof(Value)) {
        return STATUS_BUFFER_TOO_SMALL;
    }

    __try {
        ProbeForWrite(Output, sizeof(Value), 1);
        *(ULONG UNALIGNED *)Output = Value;
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return GetExceptionCode();
    }

    *Information = sizeof(Value);

    return STATUS_SUCCESS;
}

static NTSTATUS SehSum(PVOID Input, ULONG InputLength, PULONG Sum)
{
    SEH_RANGE range;
    ULONG sum = 0;
    ULONG i;

    if (InputLength != sizeof(range)) {
        return STATUS_INVALID_PARAMETER;
    }

    __try {
        /* The request can be changed while it is looked at: it is copied once, and the copy is used. */
        ProbeForRead(Input, sizeof(range), __alignof(SEH_RANGE));
        range = *(volatile SEH_RANGE *)Input;

        if (range.Length > SEH_LARGEST_RANGE) {
            ExRaiseStatus(STATUS_INVALID_BUFFER_SIZE);
        }

        ProbeForRead(range.Start, range.Length, 1);
        for (i = 0; i < range.Length; i++) {
            sum += range.Start[i];
        }
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return GetExceptionCode();
    }

    *Sum = sum;

    return STATUS_SUCCESS;
}

/* An exception that is not the filter's goes on to the __try block around it. */
static LONG SehDivideFilter(NTSTATUS Code)
{
    return Code == STATUS_INTEGER_DIVIDE_BY_ZERO || Code == STATUS_INTEGER_OVERFLOW ? EXCEPTION_EXECUTE_HANDLER : EXCEPTION_CONTINUE_SEARCH;
}

static NTSTATUS SehDivide(PVOID Input, ULONG InputLength, PLONG Quotient)
{
    volatile LONG *numbers = Input;
    NTSTATUS status = STATUS_SUCCESS;

    if (InputLength != 2 * sizeof(LONG)) {
        return STATUS_INVALID_PARAMETER;
    }

    __try {
        __try {
            ProbeForRead(Input, InputLength, 1);
            *Quotient = numbers[0] / numbers[1];
        } __except (SehDivideFilter(GetExceptionCode())) {
            status = GetExceptionCode() == STATUS_INTEGER_OVERFLOW ? STATUS_INTEGER_OVERFLOW : STATUS_INVALID_PARAMETER_2;
        }
    } __except (GetExceptionCode() == STATUS_ACCESS_VIOLATION ? EXCEPTION_EXECUTE_HANDLER : EXCEPTION_CONTINUE_SEARCH) {
        status = STATUS_INVALID_USER_BUFFER;
    }

    return status;
}

static __attribute__((noinline)) VOID SehRaiseLocked(PSEH_EXTENSION Extension, NTSTATUS Status)
{
    KeWaitForSingleObject(&Extension->Lock, Executive, KernelMode, FALSE, NULL);

    __try {
        ExRaiseStatus(Status);
    } __finally {
        KeReleaseMutex(&Extension->Lock, FALSE);
    }
}

static NTSTATUS SehRaise(PSEH_EXTENSION Extension, PVOID Input, ULONG InputLength)
{
    NTSTATUS status = STATUS_SUCCESS;

    if (InputLength != sizeof(status)) {
        return STATUS_INVALID_PARAMETER;
    }

    __try {
        ProbeForRead(Input, sizeof(status), 1);
        status = *(volatile NTSTATUS UNALIGNED *)Input;

        /* What is raised completes the request: an error, then, and a final one. */
        if (!NT_ERROR(status) || status == (NTSTATUS)-1) {
            ExRaiseStatus(STATUS_INVALID_PARAMETER);
        }

        SehRaiseLocked(Extension, status);
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        status = GetExceptionCode();
    }

    return status;
}

/* The exception has the address of the count as its parameter; the filter counts down and lets the raising code go on. */
static LONG SehRetryFilter(PEXCEPTION_POINTERS Exception)
{
    PULONG left;

    if (Exception->ExceptionRecord->ExceptionCode != STATUS_SEH_RETRY) {
        return EXCEPTION_CONTINUE_SEARCH;
    }

    left = (PULONG)Exception->ExceptionRecord->ExceptionInformation[0];
    if (*left == 0) {
        return EXCEPTION_EXECUTE_HANDLER;
    }

    --*left;

    return EXCEPTION_CONTINUE_EXECUTION;
}

static NTSTATUS SehRetry(PVOID Input, ULONG InputLength, PULONG Count)
{
    EXCEPTION_RECORD record = { .ExceptionCode = STATUS_SEH_RETRY, .NumberParameters = 1 };
    volatile ULONG left;
    ULONG count = 0;

    if (InputLength != sizeof(left)) {
        return STATUS_INVALID_PARAMETER;
    }

    __try {
        ProbeForRead(Input, sizeof(left), 1);
        left = *(volatile ULONG UNALIGNED *)Input;
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        return GetExceptionCode();
    }

    /* No program is to have the processor for as long as it likes. */
    if (left > SEH_MOST_RETRIES) {
        return STATUS_INVALID_PARAMETER;
    }

    record.ExceptionInformation[0] = (ULONG_PTR)&left;

    __try {
        for (;;) {
            RtlRaiseException(&record);
            ++*(volatile ULONG *)&count;
        }
    } __except (SehRetryFilter(GetExceptionInformation())) {
        *Count = count;
    }

    return STATUS_SUCCESS;
}

static VOID SehNote(PULONG Order, ULONG Digit)
{
    *Order = *Order * 10 + Digit;
}

static __attribute__((noinline)) ULONG SehReturnOutOfTry(PULONG Order)
{
    __try {
        __try {
            if (*(volatile ULONG *)Order == 0) {
                return 7;
            }
        } __finally {
            SehNote(Order, AbnormalTermination() ? 1 : 8);
        }
    } __finally {
        SehNote(Order, AbnormalTermination() ? 2 : 8);
    }

    return 0;
}

/* Looks as if it could return: where clang knows that a __try or __finally block cannot, it leaves scopes out or merges them. */
static __attribute__((noinline)) VOID SehRaiseUnlessZero(volatile ULONG *Order, NTSTATUS Status)
{
    if (*Order != 0) {
        ExRaiseStatus(Status);
    }
}

/* An exception out of a __finally takes the place of the one for which it was called. */
static __attribute__((noinline)) VOID SehRaiseInFinally(PULONG Order)
{
    __try {
        __try {
            __try {
                SehRaiseUnlessZero(Order, STATUS_ACCESS_DENIED);
            } __finally {
                SehNote(Order, 3);
                SehRaiseUnlessZero(Order, STATUS_DEVICE_BUSY);
            }
        } __finally {
            SehNote(Order, 4);
        }
    } __except (EXCEPTION_EXECUTE_HANDLER) {
        SehNote(Order, (NTSTATUS)GetExceptionCode() == STATUS_DEVICE_BUSY ? 5 : 8);
    }
}

static NTSTATUS SehCleanup(PULONG Order)
{
    ULONG order = 0;

    if (SehReturnOutOfTry(&order) != 7) {
        return STATUS_INTERNAL_ERROR;
    }

    SehRaiseInFinally(&order);

    __try {
        SehNote(&order, 6);
    } __finally {
        SehNote(&order, AbnormalTermination() ? 8 : 7);
    }

    *Order = order;

    return STATUS_SUCCESS;
}
