using System.Buffers.Binary;
using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Images;

/// <summary>
/// What the pointers of control flow guard lead to: code that images call before, or instead of, each call of a pointer. A call to
/// a place in an image that its table does not list ends the machine; one to anything that is no code faults by itself.
/// </summary>
/// <remarks>https://learn.microsoft.com/windows/win32/secbp/pe-metadata</remarks>
sealed class GuardRoutines
{
    const byte DispatchOffset = 0x10, PointerOffset = 0x20;
    const ulong InvalidTarget = 10; // FAST_FAIL_GUARD_ICALL_CHECK_FAILURE

    // Nothing but rax may change, and that only to what it was: the target of the call that follows.
    static ReadOnlySpan<byte> CheckCode => [0xFF, 0x25, PointerOffset - 6, 0, 0, 0]; // jmp [pointer]

    static ReadOnlySpan<byte> DispatchCode =>
    [
        0x48, 0x91, // xchg rax,rcx
        0xFF, 0x15, PointerOffset - DispatchOffset - 8, 0, 0, 0, // call [pointer]
        0x48, 0x91, // xchg rax,rcx
        0xFF, 0xE0, // jmp rax
    ];

    readonly Machine machine;
    readonly Func<ulong, DriverImage?> imageAt;

    public GuardRoutines(Machine machine, Func<ulong, DriverImage?> imageAt)
    {
        this.machine = machine;
        this.imageAt = imageAt;
        AddressSpace memory = machine.Memory;
        Page = memory.KernelData.Allocate(GuestMemory.PageSize, PageAccess.ReadWrite);
        if (Page == 0) return;
        Span<byte> page = GuestMemory.Write(Page, (int)GuestMemory.PageSize);
        CheckCode.CopyTo(page);
        DispatchCode.CopyTo(page[(int)DispatchOffset..]);
        BinaryPrimitives.WriteUInt64LittleEndian(page[(int)PointerOffset..], machine.Code.Register(new WORKER_THREAD_ROUTINE(Verify)));
        memory.Protect(Page, GuestMemory.PageSize, PageAccess.Read | PageAccess.Execute);
    }

    ulong Page { get; }

    /// <summary>Returns if the target in rcx is accepted.</summary>
    public ulong Check => Page;

    /// <summary>Jumps to the target in rax if it is accepted.</summary>
    public ulong Dispatch => Page + DispatchOffset;

    /// <summary>Has an image's pointers lead here.</summary>
    public void Set(DriverImage image)
    {
        if (Page == 0 || image.File.LoadConfiguration is not { } configuration) return;
        if (configuration.GuardCheckFunctionPointer is { } check) image.WriteUInt64(check, Check);
        if (configuration.GuardDispatchFunctionPointer is { } dispatch) image.WriteUInt64(dispatch, Dispatch);
    }

    /// <summary>The name of an address among these routines.</summary>
    public string? SymbolAt(ulong address) => Page == 0 || address - Page >= PointerOffset ? null
        : address >= Dispatch ? "nt!guard_dispatch_icall" : "nt!guard_check_icall";

    void Verify(PVOID target)
    {
        if (imageAt(target.Address) is not { IsLoaded: true } image || image.File.LoadConfiguration?.GuardFunctions is not { } functions) return;
        if (functions.AsSpan().BinarySearch((uint)(target.Address - image.Base)) >= 0 || !GuestMemory.IsAccessible(target.Address, 1, PageAccess.Execute)) return;
        throw machine.BugChecks.Stop(BugCheckCode.KERNEL_SECURITY_CHECK_FAILURE, InvalidTarget, 0, 0, 0,
            $"A pointer to {image.SymbolAt(target.Address)} was called, which {image.File.Name} does not list among the targets of such calls (control flow guard).");
    }
}
