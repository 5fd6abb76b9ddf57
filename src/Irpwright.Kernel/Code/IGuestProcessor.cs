using System.Reflection;
using Irpwright.Wdk;

namespace Irpwright.Kernel;

/// <summary>Executes code of compiled drivers; the kernel needs nothing else from a processor.</summary>
public interface IGuestProcessor
{
    /// <summary>Calls a guest routine by the Microsoft x64 convention and returns rax.</summary>
    /// <remarks>
    /// Runs on the thread's current kernel stack, or on the one from <paramref name="stackTop"/> down to <paramref name="stackLimit"/>
    /// when those are not 0 (DPC stack, expanded stack): every register is as before then, except for rax.
    /// Faults and other stops of the guest end in a bug check; nested calls are the normal case.
    /// </remarks>
    ulong Invoke(KernelThread thread, ulong address, ulong rcx, ulong rdx, ulong r8, ulong r9, ReadOnlySpan<ulong> stackArguments = default,
        ulong stackTop = 0, ulong stackLimit = 0);

    /// <summary>Whether an address lies in executable guest memory.</summary>
    bool IsCode(ulong address);

    /// <summary>The guest frames of a thread that is executing now: for each nested call of <see cref="Invoke"/>, innermost first.</summary>
    IEnumerable<IReadOnlyList<GuestFrame>> CallStack(KernelThread thread);

    /// <summary>Whether the host's stack has a frame of a method once for each nested call of <see cref="Invoke"/>, however it was compiled.</summary>
    bool IsRun(MethodBase method);

    /// <summary>
    /// The instructions around one that a thread is about to execute, or has executed when the address is the one behind it; empty where there is no code.
    /// </summary>
    IReadOnlyList<CodeLine> Disassemble(KernelThread thread, ulong address) => [];

    /// <summary>Frames of compiled code; null for a processor that has none.</summary>
    IGuestFrames? Frames => null;
}

/// <summary>A frame of compiled code.</summary>
/// <param name="Address">The instruction that is executed, or the return address of a call.</param>
/// <param name="IsGuess">Whether nothing but its looks says that it is a return address.</param>
public readonly record struct GuestFrame(ulong Address, bool IsGuess);

/// <summary>What the kernel's exception routines ask about compiled code.</summary>
public interface IGuestFrames
{
    /// <summary>The registers that the guest code of a thread has.</summary>
    void Save(KernelThread thread, ref CONTEXT context);

    /// <summary>The registers that the guest code of a thread will have when its call of the kernel returns.</summary>
    void Capture(KernelThread thread, ref CONTEXT context);

    /// <summary>The base of the image that holds an address; null for none.</summary>
    PVOID FindImage(ulong address);

    /// <summary>The exception table row of an address, in the image; null for none.</summary>
    PRUNTIME_FUNCTION FindFunction(ulong address, out ulong imageBase);

    /// <summary>Turns the registers of a function, rip being in it, into those of its caller, as RtlVirtualUnwind does.</summary>
    /// <exception cref="NtStatusException">The tables or the stack cannot be read.</exception>
    PEXCEPTION_ROUTINE Unwind(uint handlerType, ulong imageBase, in RUNTIME_FUNCTION function, ref CONTEXT context,
        out PVOID handlerData, out ulong establisherFrame, PKNONVOLATILE_CONTEXT_POINTERS saved);
}
