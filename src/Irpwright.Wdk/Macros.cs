using System.Runtime.CompilerServices;

namespace Irpwright.Wdk;

/// <summary>The WDK's macros that only compute: no memory of a machine is touched. Used with <c>using static</c>.</summary>
public static class Macros
{
    /// <summary>An I/O control code: device type 31..16, required access 15..14, function 13..2, buffering method 1..0.</summary>
    public static uint CTL_CODE(uint DeviceType, uint Function, uint Method, uint Access) =>
        DeviceType << 16 | Access << 14 | Function << 2 | Method;

    public static uint DEVICE_TYPE_FROM_CTL_CODE(uint ctrlCode) => ctrlCode >> 16;

    public static uint METHOD_FROM_CTL_CODE(uint ctrlCode) => ctrlCode & 3;

    /// <summary>The access a handle must have for the code: FILE_ANY_ACCESS, FILE_READ_ACCESS, FILE_WRITE_ACCESS or both.</summary>
    public static uint ACCESS_FROM_CTL_CODE(uint ctrlCode) => ctrlCode >> 14 & 3;

    public static uint IoGetFunctionCodeFromCtlCode(uint ControlCode) => ControlCode >> 2 & 0xFFF;

    /// <summary>Bytes of a packet with <paramref name="StackSize"/> stack locations.</summary>
    public static ushort IoSizeOfIrp(sbyte StackSize) => (ushort)(IRP.SizeOf + StackSize * IO_STACK_LOCATION.SizeOf);

    /// <summary>Pages that <paramref name="Size"/> bytes at <paramref name="Va"/> touch.</summary>
    public static uint ADDRESS_AND_SIZE_TO_SPAN_PAGES(PVOID Va, ulong Size) =>
        (uint)(((Va.Address & (Constants.PAGE_SIZE - 1)) + Size + (Constants.PAGE_SIZE - 1)) >> Constants.PAGE_SHIFT);

    public static uint BYTE_OFFSET(PVOID Va) => (uint)(Va.Address & (Constants.PAGE_SIZE - 1));

    public static PVOID PAGE_ALIGN(PVOID Va) => new(Va.Address & ~(ulong)(Constants.PAGE_SIZE - 1));

    /// <summary>The pseudo-handle of the calling thread's process; needs no closing.</summary>
    public static HANDLE NtCurrentProcess() => new(ulong.MaxValue);

    /// <inheritdoc cref="NtCurrentProcess"/>
    public static HANDLE ZwCurrentProcess() => NtCurrentProcess();

    /// <summary>The pseudo-handle of the calling thread; needs no closing.</summary>
    public static HANDLE NtCurrentThread() => new(ulong.MaxValue - 1);

    /// <inheritdoc cref="NtCurrentThread"/>
    public static HANDLE ZwCurrentThread() => NtCurrentThread();

    /// <summary>
    /// The structure around a field, as in C but with the field named by an expression:
    /// <code>var Irp = (PIRP)CONTAINING_RECORD(Entry, (ref IRP irp) => ref irp.Tail.Overlay.ListEntry);</code>
    /// </summary>
    public static PVOID CONTAINING_RECORD<TRecord, TField>(PVOID address, FieldOf<TRecord, TField> field)
        where TRecord : unmanaged where TField : unmanaged
    {
        TRecord record = default;
        nint offset = Unsafe.ByteOffset(ref Unsafe.As<TRecord, byte>(ref record), ref Unsafe.As<TField, byte>(ref field(ref record)));
        return new(address.Address - (ulong)offset);
    }

    /// <summary>Names a field of a structure, for <see cref="CONTAINING_RECORD"/>.</summary>
    public delegate ref TField FieldOf<TRecord, TField>(ref TRecord record) where TRecord : unmanaged where TField : unmanaged;
}
