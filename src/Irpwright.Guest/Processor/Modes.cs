using System.Numerics;
using System.Runtime.CompilerServices;
using Irpwright.Wdk;

namespace Irpwright.Guest.Processor;

/// <summary>
/// How handlers continue and how they reach memory. Every handler is generic over it, so another way of looking at guest accesses is
/// another struct, not another set of handlers.
/// </summary>
unsafe interface IMode
{
    /// <summary>Continues with <paramref name="next"/>; must be the last thing a handler does.</summary>
    static abstract Op* Next(Cpu* cpu, Op* next);

    /// <summary>
    /// Host memory of a guest operand. Null: the handler has done nothing yet and ends with <see cref="Missed"/>, which may run it again.
    /// </summary>
    static abstract byte* Translate(Cpu* cpu, Op* op, ulong address, int size, PageAccess access);

    /// <summary>
    /// Looks further for the operand that <see cref="Translate"/> did not find, and starts the handler again; or records the fault.
    /// </summary>
    static abstract Op* Missed(Cpu* cpu, Op* op);

    /// <summary>As <see cref="Translate"/>, for handlers that cannot start again: null means that a fault is recorded.</summary>
    static abstract byte* TranslateNow(Cpu* cpu, Op* op, ulong address, int size, PageAccess access);
}

/// <summary>Each handler jumps to the next one: twice as fast as a loop, where the host's compiler makes a tail call a jump.</summary>
unsafe struct Threaded : IMode
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Op* Next(Cpu* cpu, Op* next) => next->Handler(cpu, next);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Translate(Cpu* cpu, Op* op, ulong address, int size, PageAccess access) =>
        GuestAccess.Translate(cpu, address, size, access);

    // By a pointer, as the compiler inlined it otherwise. (Marked NoInlining, it would not end in a jump.)
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Op* Missed(Cpu* cpu, Op* op) => cpu->OnMiss(cpu, op);

    public static byte* TranslateNow(Cpu* cpu, Op* op, ulong address, int size, PageAccess access) =>
        GuestAccess.TranslateNow(cpu, op, address, size, access);
}

/// <summary>Each handler returns the next one to a loop: works under any compiler.</summary>
unsafe struct Looped : IMode
{
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Op* Next(Cpu* cpu, Op* next) => next;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Translate(Cpu* cpu, Op* op, ulong address, int size, PageAccess access) =>
        GuestAccess.Translate(cpu, address, size, access);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static Op* Missed(Cpu* cpu, Op* op) => cpu->OnMiss(cpu, op);

    public static byte* TranslateNow(Cpu* cpu, Op* op, ulong address, int size, PageAccess access) =>
        GuestAccess.TranslateNow(cpu, op, address, size, access);
}

/// <summary>The processor's way to guest memory: as <see cref="GuestMemory"/>, but a fault is a value.</summary>
/// <remarks>
/// Nearly every access is to the kernel windows, which a handler looks up without calling anything: that keeps it a leaf without
/// registers to save. What it does not find there it leaves in <see cref="Cpu.MissedAddress"/> and gives up; <see cref="Find"/> then
/// looks in the other places, puts the answer where <see cref="Translate"/> looks next, and the handler starts again.
/// </remarks>
static unsafe class GuestAccess
{
    /// <summary>Where Windows maps KUSER_SHARED_DATA into the kernel half, read-only.</summary>
    public const ulong SharedUserData = 0xFFFFF780_00000000;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static byte* Translate(Cpu* cpu, ulong address, int size, PageAccess access)
    {
        byte* host = cpu->Host + (uint)address;
        // In this form the compiler lets the good case run straight through.
        if (((address ^ cpu->CodeBase) & OutsideKernel) != 0 || !IsAllowed(address, size, access)) host = Miss(cpu, address, size, access);
        return host;
    }

    // Addresses of this machine have the upper bits of its slice, whose start CodeBase is; the system mapping has one bit more. Memory
    // of other machines lies around it, and no pointer may reach it.
    const ulong OutsideSlice = ~(GuestMemory.SliceSize - 1);
    internal const ulong OutsideKernel = OutsideSlice & ~(GuestMemory.SystemMappingBase - GuestMemory.KernelBase);

    internal static bool IsOfThisMachine(Cpu* cpu, ulong address) =>
        ((address ^ cpu->CodeBase) & OutsideKernel) == 0 || ((address ^ (cpu->CodeBase - GuestMemory.KernelBase + GuestMemory.UserBase)) & OutsideSlice) == 0;

    static bool IsOpen(ulong address, int size, PageAccess access) =>
        address - GuestMemory.KernelBase < GuestMemory.KernelSpan && IsAllowed(address, size, access);

    /// <summary>Whether the page allows an access that does not go beyond it, which those at a multiple of their size never do.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static bool IsAllowed(ulong address, int size, PageAccess access) =>
        (GuestMemory.KernelPageZero[address >> GuestMemory.PageShift] & (int)access) != 0
        && (BitOperations.IsPow2(size) && (address & (uint)(size - 1)) == 0 || (address & (GuestMemory.PageSize - 1)) <= GuestMemory.PageSize - (uint)size);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    static byte* Miss(Cpu* cpu, ulong address, int size, PageAccess access)
    {
        cpu->MissedAddress = address;
        cpu->MissedSize = size;
        cpu->MissedAccess = access;
        Found* found = access == PageAccess.Write ? &cpu->FoundForWrite : &cpu->FoundForRead;
        if (found->Address != address) return null;
        found->Address = 0;
        byte* host = found->Host;
        found->Host = null;
        return host;
    }

    /// <summary>
    /// Finds what a handler missed, and answers with what is to be done now: the handler again, the next operation if a device took what
    /// the handler wrote, or the end if a fault is recorded.
    /// </summary>
    [MethodImpl(MethodImplOptions.NoInlining)] // its caller ends in a jump
    public static Handler Find(Cpu* cpu, Op* op, Handler next)
    {
        // Finding may make the operation stale, if it is about to write to its own page: it is still to be done.
        Handler handler = op->Handler;
        byte* host = TranslateSlowly(cpu, op, cpu->MissedAddress, cpu->MissedSize, cpu->MissedAccess);
        if (host == null)
        {
            // What an earlier attempt found must not outlive the instruction.
            (cpu->FoundForRead, cpu->FoundForWrite) = (default, default);
            return &Branch.Halt;
        }
        // A page that was watched is open now: the handler finds it by itself, and must not keep a way around the next watch.
        if (IsOpen(cpu->MissedAddress, cpu->MissedSize, cpu->MissedAccess)) return handler;
        var found = new Found { Address = cpu->MissedAddress, Host = host };
        if (cpu->MissedAccess == PageAccess.Write) cpu->FoundForWrite = found;
        else cpu->FoundForRead = found;
        return cpu->PendingSize == 0 ? handler : DeviceAccess.RunAlone(cpu, op, handler) ? next : &Branch.Halt;
    }

    public static byte* TranslateNow(Cpu* cpu, Op* op, ulong address, int size, PageAccess access)
    {
        byte* host = Translate(cpu, address, size, access);
        return host != null ? host : TranslateSlowly(cpu, op, address, size, access);
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    static byte* TranslateSlowly(Cpu* cpu, Op* op, ulong address, int size, PageAccess access)
    {
        ulong place = address;
        if (address - SharedUserData <= GuestMemory.PageSize - (ulong)size && cpu->SharedUserData != 0 && access == PageAccess.Read)
            place = cpu->SharedUserData + (address - SharedUserData);
        if (!IsOfThisMachine(cpu, place) && !DeviceAccess.IsDevice(address))
        {
            Stop.Fault(cpu, op, address, access);
            return null;
        }
        if (GuestMemory.TryTranslate(place, (ulong)size, access, out byte* host, out ulong faultAddress)) return host;
        if (access == PageAccess.Write && SystemRegisters.IgnoresWriteProtection(cpu)
            && GuestMemory.TryTranslate(address, (ulong)size, PageAccess.Read, out host, out _))
        {
            Interpreter.Of(cpu).Written(address, size);
            return host;
        }
        if (DeviceAccess.IsDevice(address))
        {
            host = DeviceAccess.Begin(cpu, op, address, size, access);
            if (host != null) return host;
        }
        Stop.Fault(cpu, op, faultAddress, access);
        return null;
    }
}

/// <summary>The slow way of a handler that found no operand.</summary>
static unsafe class GuestAccess<TMode> where TMode : struct, IMode
{
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static Op* Miss(Cpu* cpu, Op* op) => GuestAccess.Find(cpu, op, &Skip)(cpu, op);

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    static Op* Skip(Cpu* cpu, Op* op) => TMode.Next(cpu, op + 1);
}

/// <summary>Ways to end a chain. All return null, which is what a handler then returns.</summary>
static unsafe class Stop
{
    [MethodImpl(MethodImplOptions.NoInlining)]
    public static Op* Because(Cpu* cpu, Op* op, StopReason reason) => At(cpu, cpu->CodeBase + op->Offset, reason);

    [MethodImpl(MethodImplOptions.NoInlining)]
    public static Op* At(Cpu* cpu, ulong rip, StopReason reason)
    {
        cpu->Rip = rip;
        cpu->Stop = reason;
        return null;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    public static Op* Fault(Cpu* cpu, Op* op, ulong address, PageAccess access) =>
        FaultAt(cpu, cpu->CodeBase + op->Offset, address, access);

    public static Op* FaultAt(Cpu* cpu, ulong rip, ulong address, PageAccess access)
    {
        cpu->FaultAddress = address;
        cpu->FaultAccess = access;
        bool guard = cpu->StackLimit != 0 && cpu->StackLimit - 1 - address < GuestMemory.PageSize;
        return At(cpu, rip, guard ? StopReason.KernelStackOverflow : StopReason.Fault);
    }
}
