using Irpwright.Guest.Exceptions;
using Irpwright.Guest.Images;
using Irpwright.Guest.Processor;
using Irpwright.Guest.Unwinding;
using Irpwright.Kernel;
using Irpwright.Wdk;
using static Irpwright.Wdk.Constants;

namespace Irpwright.Guest.Checks;

/// <summary>Finds out whether compiled code would handle a fault, without one.</summary>
sealed unsafe class GuardSearch(Func<ulong, DriverImage?>? imageAt)
{
    const int MostFrames = 64, MostScopes = 4096;

    // SCOPE_TABLE_AMD64: a count, and for each scope where it begins and ends, its filter, and where it goes on; 0 for a __finally.
    readonly record struct Scope(uint Begin, uint End, uint Handler, uint Target);

    /// <summary>Whether an instruction, or a call from one of the frames around it, is inside of a __try with an __except.</summary>
    /// <param name="instruction">Where the processor is; or where the routine of the kernel that it is at will return to.</param>
    public bool IsGuarded(Cpu* cpu, ulong instruction)
    {
        CONTEXT context = default;
        context.Save(cpu);
        if (cpu->Rip != instruction) FrameUnwinder.TryLeaveLeaf(ref context);
        ulong returnAddress = Interpreter.Of(cpu).ReturnAddress;
        for (int i = 0; i < MostFrames && context.Rip != returnAddress; i++)
        {
            ulong pc = context.Rip;
            DriverImage? image = imageAt?.Invoke(pc);
            if (image?.File.FunctionAt((uint)(pc - image.Base)) is not { } function)
            {
                if (!FrameUnwinder.TryLeaveLeaf(ref context)) return false;
            }
            // What cannot be read might be a guard.
            else if (!FrameUnwinder.TryLeave(image, function, UNW_FLAG_EHANDLER, ref context, out FrameInfo frame)
                || frame.Handler != 0 && IsInScope(frame.HandlerData, (uint)(pc - image.Base)))
            {
                return true;
            }
        }
        return false;
    }

    // Handlers other than __C_specific_handler that guard C code, such as __GSHandlerCheck_SEH, have the same table first.
    static bool IsInScope(ulong table, uint offset)
    {
        if (!GuestMemory.IsAccessible(table, 4, PageAccess.Read)) return true;
        uint count = GuestMemory.Ref<uint>(table);
        if (count > MostScopes || !GuestMemory.IsAccessible(table + 4, 16UL * count, PageAccess.Read)) return true;
        for (uint i = 0; i < count; i++)
        {
            Scope scope = GuestMemory.Ref<Scope>(table + 4 + 16UL * i);
            if (scope.Target != 0 && offset >= scope.Begin && offset < scope.End) return true;
        }
        return false;
    }
}
