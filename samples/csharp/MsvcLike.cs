using System.Buffers.Binary;
using System.Numerics;

namespace Irpwright.Samples;

/// <summary>A software device that runs small programs. Twin of <c>msvclike.c</c>.</summary>
/// <remarks>
/// \Device\MsvcLike0 (\DosDevices\MsvcLike0). IOCTL_MSVCLIKE_RUN takes a program for a machine with a stack of 32-bit numbers, at most
/// MSVCLIKE_LONGEST bytes, and returns the number that is on top of the stack at the end. An instruction is one byte; PUSH is followed by
/// its number, CALL by the number of a routine, 0 to 3: factorial, integer square root, count of bits, reversed bytes. What the C twin
/// shows, code as the Microsoft compiler makes it, has no counterpart in C#; the arrays are the same, and so is what comes out.
/// <para>Pattern: "Buffer Descriptions for I/O Control Codes".</para>
/// </remarks>
/// <seealso href="https://learn.microsoft.com/windows-hardware/drivers/kernel/buffer-descriptions-for-i-o-control-codes"/>
public sealed class MsvcLike : WdmDriver
{
    const string MSVCLIKE_DEVICE_NAME = @"\Device\MsvcLike0";
    const string MSVCLIKE_LINK_NAME = @"\DosDevices\MsvcLike0";
    const int MSVCLIKE_LONGEST = 64;
    const int MSVCLIKE_DEPTH = 16;

    /// <summary>Input: a program. Output: ULONG, the number on top of the stack at its end.</summary>
    public static readonly uint IOCTL_MSVCLIKE_RUN = CTL_CODE(FILE_DEVICE_UNKNOWN, 0x810, METHOD_BUFFERED, FILE_ANY_ACCESS);

    public enum Op : byte
    {
        End,
        Push,
        Drop,
        Dup,
        Swap,
        Add,
        Sub,
        Mul,
        Div,
        And,
        Or,
        Xor,
        Not,
        Call,
    }

    readonly Func<uint, uint>[] MsvcLikeRoutines = [MsvcLikeFactorial, MsvcLikeRoot, MsvcLikeBits, MsvcLikeReverse];

    public override NTSTATUS DriverEntry(PDRIVER_OBJECT DriverObject, PUNICODE_STRING RegistryPath)
    {
        PUNICODE_STRING deviceName = RTL_CONSTANT_STRING(MSVCLIKE_DEVICE_NAME);
        PUNICODE_STRING linkName = RTL_CONSTANT_STRING(MSVCLIKE_LINK_NAME);

        NTSTATUS status = IoCreateDevice(DriverObject, 0, deviceName, FILE_DEVICE_UNKNOWN, FILE_DEVICE_SECURE_OPEN, false, out PDEVICE_OBJECT deviceObject);
        if (!status.IsSuccess)
        {
            return status;
        }

        status = IoCreateSymbolicLink(linkName, deviceName);
        if (!status.IsSuccess)
        {
            IoDeleteDevice(deviceObject);
            return status;
        }

        DriverObject.MajorFunction[IRP_MJ_CREATE] = Routine(MsvcLikeDispatchCreateClose);
        DriverObject.MajorFunction[IRP_MJ_CLOSE] = Routine(MsvcLikeDispatchCreateClose);
        DriverObject.MajorFunction[IRP_MJ_DEVICE_CONTROL] = Routine(MsvcLikeDispatchControl);
        DriverObject.DriverUnload = Routine(MsvcLikeUnload);

        deviceObject.Flags &= ~DO_DEVICE_INITIALIZING;

        return STATUS_SUCCESS;
    }

    void MsvcLikeUnload(PDRIVER_OBJECT DriverObject)
    {
        PUNICODE_STRING linkName = RTL_CONSTANT_STRING(MSVCLIKE_LINK_NAME);

        IoDeleteSymbolicLink(linkName);
        IoDeleteDevice(DriverObject.DeviceObject);
    }

    NTSTATUS MsvcLikeDispatchCreateClose(PDEVICE_OBJECT DeviceObject, PIRP Irp) => MsvcLikeComplete(Irp, STATUS_SUCCESS, 0);

    NTSTATUS MsvcLikeDispatchControl(PDEVICE_OBJECT DeviceObject, PIRP Irp)
    {
        PIO_STACK_LOCATION location = IoGetCurrentIrpStackLocation(Irp);

        if (location.Parameters.DeviceIoControl.IoControlCode != IOCTL_MSVCLIKE_RUN)
        {
            return MsvcLikeComplete(Irp, STATUS_INVALID_DEVICE_REQUEST, 0);
        }

        if (location.Parameters.DeviceIoControl.OutputBufferLength < sizeof(uint))
        {
            return MsvcLikeComplete(Irp, STATUS_BUFFER_TOO_SMALL, 0);
        }

        NTSTATUS status = MsvcLikeRun(new PUCHAR(Irp.AssociatedIrp.SystemBuffer.Address), location.Parameters.DeviceIoControl.InputBufferLength, out uint result);
        if (!status.IsSuccess)
        {
            return MsvcLikeComplete(Irp, status, 0);
        }

        new PULONG(Irp.AssociatedIrp.SystemBuffer.Address).Value = result;

        return MsvcLikeComplete(Irp, STATUS_SUCCESS, sizeof(uint));
    }

    NTSTATUS MsvcLikeComplete(PIRP Irp, NTSTATUS Status, ulong Information)
    {
        Irp.IoStatus.Status = Status;
        Irp.IoStatus.Information = Information;
        IoCompleteRequest(Irp, IO_NO_INCREMENT);

        return Status;
    }

    NTSTATUS MsvcLikeRun(PUCHAR Program, uint Length, out uint Result)
    {
        Result = 0;
        if (Length > MSVCLIKE_LONGEST)
        {
            return STATUS_INVALID_BUFFER_SIZE;
        }

        byte[] program = new byte[MSVCLIKE_LONGEST + 2]; // behind the program Op.End, and an operand for the last instruction
        uint[] stack = new uint[MSVCLIKE_DEPTH];
        int depth = 0;
        int at = 0;
        for (int i = 0; i < Length; i++) program[i] = Program[i];

        while (true)
        {
            var operation = (Op)program[at++];
            int needed = operation is >= Op.Add and <= Op.Xor or Op.Swap ? 2 : operation == Op.Push ? 0 : 1;

            if (operation > Op.Call || depth < needed)
            {
                return STATUS_INVALID_PARAMETER;
            }

            uint top = depth > 0 ? stack[depth - 1] : 0;

            switch (operation)
            {
                case Op.End:
                    Result = top;
                    return STATUS_SUCCESS;
                case Op.Push or Op.Dup:
                    if (depth == MSVCLIKE_DEPTH)
                    {
                        return STATUS_INVALID_PARAMETER;
                    }
                    stack[depth++] = operation == Op.Push ? program[at++] : top;
                    break;
                case Op.Drop:
                    depth--;
                    break;
                case Op.Swap:
                    stack[depth - 1] = stack[depth - 2];
                    stack[depth - 2] = top;
                    break;
                case Op.Add:
                    stack[--depth - 1] += top;
                    break;
                case Op.Sub:
                    stack[--depth - 1] -= top;
                    break;
                case Op.Mul:
                    stack[--depth - 1] *= top;
                    break;
                case Op.Div:
                    if (top == 0)
                    {
                        return STATUS_INTEGER_DIVIDE_BY_ZERO;
                    }
                    stack[--depth - 1] /= top;
                    break;
                case Op.And:
                    stack[--depth - 1] &= top;
                    break;
                case Op.Or:
                    stack[--depth - 1] |= top;
                    break;
                case Op.Xor:
                    stack[--depth - 1] ^= top;
                    break;
                case Op.Not:
                    stack[depth - 1] = ~top;
                    break;
                default:
                    if (program[at] >= MsvcLikeRoutines.Length)
                    {
                        return STATUS_INVALID_PARAMETER;
                    }
                    stack[depth - 1] = MsvcLikeRoutines[program[at++]](top);
                    break;
            }
        }
    }

    static uint MsvcLikeFactorial(uint Value)
    {
        uint product = 1;

        while (Value > 1)
        {
            product *= Value--;
        }

        return product;
    }

    static uint MsvcLikeRoot(uint Value)
    {
        uint root = 0;

        for (uint bit = 1u << 15; bit != 0; bit >>= 1)
        {
            if ((root | bit) * (root | bit) <= Value)
            {
                root |= bit;
            }
        }

        return root;
    }

    static uint MsvcLikeBits(uint Value) => (uint)BitOperations.PopCount(Value);

    static uint MsvcLikeReverse(uint Value) => BinaryPrimitives.ReverseEndianness(Value);
}
