using System.Runtime.CompilerServices;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>The header-defined operations on stack locations: the same memory writes that compiled drivers carry inline.</summary>
public sealed class IrpStackLocations
{
    const ulong LocationSize = IO_STACK_LOCATION.SizeOf;

    // MajorFunction, MinorFunction, Flags, Control in the first 8 bytes of a location.
    const int ControlShift = 24;
    const ulong ControlMask = 0xFFUL << ControlShift;

    internal IrpStackLocations(Machine machine)
    {
    }

    /// <summary>The location of the driver that holds the IRP (STK-04).</summary>
    [WdkInline]
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static PIO_STACK_LOCATION IoGetCurrentIrpStackLocation(PIRP Irp) => CurrentOf(Irp);

    /// <summary>The location of the next-lower driver (STK-05).</summary>
    [WdkInline]
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static PIO_STACK_LOCATION IoGetNextIrpStackLocation(PIRP Irp) => new(CurrentOf(Irp).Address - LocationSize);

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

    /// <summary>Copies the parameters, MajorFunction up to FileObject, to the next location and clears its Control byte (STK-07).</summary>
    /// <remarks>
    /// Here and in <see cref="IoSetCompletionRoutine"/> whole words are read and written: a word that is read soon after a byte of it
    /// was written has to wait for the cache, and the next driver's copy reads it.
    /// </remarks>
    [WdkInline]
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void IoCopyCurrentIrpStackLocationToNext(PIRP Irp)
    {
        ref Neighbours locations = ref GuestMemory.Ref<Neighbours>(CurrentOf(Irp).Address - LocationSize);
        ref ulong from = ref Unsafe.As<IO_STACK_LOCATION, ulong>(ref locations.Current);
        ref ulong to = ref Unsafe.As<IO_STACK_LOCATION, ulong>(ref locations.Next);
        to = from & ~ControlMask;
        Unsafe.Add(ref to, 1) = Unsafe.Add(ref from, 1);
        Unsafe.Add(ref to, 2) = Unsafe.Add(ref from, 2);
        Unsafe.Add(ref to, 3) = Unsafe.Add(ref from, 3);
        Unsafe.Add(ref to, 4) = Unsafe.Add(ref from, 4);
        Unsafe.Add(ref to, 5) = Unsafe.Add(ref from, 5);
        Unsafe.Add(ref to, 6) = Unsafe.Add(ref from, 6);
    }

    struct Neighbours
    {
        public IO_STACK_LOCATION Next, Current;
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
        SL_CONTROL control = (InvokeOnSuccess ? SL_INVOKE_ON_SUCCESS : 0) | (InvokeOnError ? SL_INVOKE_ON_ERROR : 0) | (InvokeOnCancel ? SL_INVOKE_ON_CANCEL : 0);
        ref ulong first = ref Unsafe.As<IO_STACK_LOCATION, ulong>(ref next);
        first = (first & ~ControlMask) | (ulong)control << ControlShift;
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static ref PIO_STACK_LOCATION CurrentOf(PIRP irp) => ref GuestMemory.Ref<PIO_STACK_LOCATION>(irp.Address + 0xB8);

    /// <summary>Marks the caller's location pending (PEND-01).</summary>
    [WdkInline]
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void IoMarkIrpPending(PIRP Irp) => IoGetCurrentIrpStackLocation(Irp).Control |= SL_PENDING_RETURNED;

    /// <summary>Bytes of an IRP with that many locations (ALLOC-02).</summary>
    [WdkInline]
    public static ushort IoSizeOfIrp(sbyte StackSize) => (ushort)(IRP.SizeOf + StackSize * IO_STACK_LOCATION.SizeOf);
}
