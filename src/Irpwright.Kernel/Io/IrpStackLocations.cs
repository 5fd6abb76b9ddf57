using System.Runtime.CompilerServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>The header-defined operations on stack locations: the same memory writes that compiled drivers carry inline.</summary>
public sealed class IrpStackLocations
{
    const ulong LocationSize = IO_STACK_LOCATION.SizeOf;

    /// <summary>MajorFunction up to FileObject: what a copy takes along (STK-07).</summary>
    const int CopiedBytes = 0x38;

    internal IrpStackLocations(Machine machine)
    {
    }

    /// <summary>The location of the driver that holds the IRP (STK-04).</summary>
    [WdkInline]
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static PIO_STACK_LOCATION IoGetCurrentIrpStackLocation(PIRP Irp) => Irp.Tail.Overlay.CurrentStackLocation;

    /// <summary>The location of the next-lower driver (STK-05).</summary>
    [WdkInline]
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static PIO_STACK_LOCATION IoGetNextIrpStackLocation(PIRP Irp) => new(Irp.Tail.Overlay.CurrentStackLocation.Address - LocationSize);

    /// <summary>Lets the next driver receive the caller's own location (STK-06).</summary>
    [WdkInline]
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void IoSkipCurrentIrpStackLocation(PIRP Irp)
    {
        ref IRP irp = ref Irp.Value;
        irp.CurrentLocation++;
        irp.Tail.Overlay.CurrentStackLocation = new(irp.Tail.Overlay.CurrentStackLocation.Address + LocationSize);
    }

    /// <summary>Takes a location for the originator itself (STK-08).</summary>
    [WdkInline]
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void IoSetNextIrpStackLocation(PIRP Irp)
    {
        ref IRP irp = ref Irp.Value;
        irp.CurrentLocation--;
        irp.Tail.Overlay.CurrentStackLocation = new(irp.Tail.Overlay.CurrentStackLocation.Address - LocationSize);
    }

    /// <summary>Copies the parameters to the next location and clears its Control byte (STK-07).</summary>
    [WdkInline]
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void IoCopyCurrentIrpStackLocationToNext(PIRP Irp)
    {
        ref IO_STACK_LOCATION current = ref Irp.Tail.Overlay.CurrentStackLocation.Value;
        ref IO_STACK_LOCATION next = ref Unsafe.Subtract(ref current, 1);
        // Seven 8-byte copies: what follows reads single fields, and wide stores would stall that.
        ref ulong from = ref Unsafe.As<IO_STACK_LOCATION, ulong>(ref current);
        ref ulong to = ref Unsafe.As<IO_STACK_LOCATION, ulong>(ref next);
        for (int i = 0; i < CopiedBytes / 8; i++) Unsafe.Add(ref to, i) = Unsafe.Add(ref from, i);
        next.Control = 0;
    }

    /// <summary>Registers a completion routine in the next location (REG-01).</summary>
    [WdkInline]
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void IoSetCompletionRoutine(
        PIRP Irp, PIO_COMPLETION_ROUTINE CompletionRoutine, PVOID Context, BOOLEAN InvokeOnSuccess, BOOLEAN InvokeOnError, BOOLEAN InvokeOnCancel)
    {
        ref IO_STACK_LOCATION next = ref IoGetNextIrpStackLocation(Irp).Value;
        next.CompletionRoutine = CompletionRoutine;
        next.Context = Context;
        next.Control = (InvokeOnSuccess ? SL_INVOKE_ON_SUCCESS : 0) | (InvokeOnError ? SL_INVOKE_ON_ERROR : 0) | (InvokeOnCancel ? SL_INVOKE_ON_CANCEL : 0);
    }

    /// <summary>Marks the caller's location pending (PEND-01).</summary>
    [WdkInline]
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void IoMarkIrpPending(PIRP Irp) => IoGetCurrentIrpStackLocation(Irp).Control |= SL_PENDING_RETURNED;

    /// <summary>Bytes of an IRP with that many locations (ALLOC-02).</summary>
    [WdkInline]
    public static ushort IoSizeOfIrp(sbyte StackSize) => (ushort)(IRP.SizeOf + StackSize * IO_STACK_LOCATION.SizeOf);
}
