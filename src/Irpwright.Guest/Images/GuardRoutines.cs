using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Images;

/// <summary>
/// What the pointers of control flow guard lead to: code that images call before, or instead of, each call of a pointer. A call
/// to anything that is no code faults by itself.
/// </summary>
/// <remarks>https://learn.microsoft.com/windows/win32/secbp/pe-metadata</remarks>
sealed class GuardRoutines
{
    const uint DispatchOffset = 16;

    public GuardRoutines(AddressSpace memory)
    {
        Page = memory.KernelData.Allocate(GuestMemory.PageSize, PageAccess.ReadWrite);
        if (Page == 0) return;
        GuestMemory.Write(Page, 1)[0] = 0xC3;                         // ret
        ReadOnlySpan<byte> jump = [0xFF, 0xE0];                       // jmp rax
        jump.CopyTo(GuestMemory.Write(Page + DispatchOffset, jump.Length));
        memory.Protect(Page, GuestMemory.PageSize, PageAccess.Read | PageAccess.Execute);
    }

    ulong Page { get; }

    /// <summary>Returns: the target in rcx is accepted.</summary>
    public ulong Check => Page;

    /// <summary>Jumps to the target in rax.</summary>
    public ulong Dispatch => Page + DispatchOffset;

    /// <summary>Has an image's pointers lead here.</summary>
    public void Set(DriverImage image)
    {
        if (Page == 0 || image.File.LoadConfiguration is not { } configuration) return;
        if (configuration.GuardCheckFunctionPointer is { } check) image.WriteUInt64(check, Check);
        if (configuration.GuardDispatchFunctionPointer is { } dispatch) image.WriteUInt64(dispatch, Dispatch);
    }

    /// <summary>The name of an address among these routines.</summary>
    public string? SymbolAt(ulong address) => Page == 0 ? null
        : address == Check ? "nt!guard_check_icall"
        : address - Dispatch < 2 ? "nt!guard_dispatch_icall" : null;
}
