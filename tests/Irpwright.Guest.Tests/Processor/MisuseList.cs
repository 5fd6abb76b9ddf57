using System.Globalization;
using Irpwright.Guest.Checks;
using Irpwright.Guest.Processor;
using Irpwright.Kernel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Tests.Processor;

/// <summary>Keeps what checked mode finds, as text: what, and at which offset from <see cref="Code"/>.</summary>
sealed unsafe class MisuseList : IMisuseReports
{
    readonly List<string> found = [];

    public ulong Code { get; set; }

    public IReadOnlyList<string> Found => found;

    void Add(string what, ulong instruction) => found.Add(string.Create(CultureInfo.InvariantCulture, $"{what} at {instruction - Code}"));

    public void BlockMisused(ulong address, ulong pointer, bool isWrite, ulong instruction) => Add(isWrite ? "write" : "read", instruction);

    public void UninitializedUsed(UninitializedUse use, ulong source, ulong instruction) => Add($"unwritten {use}", instruction);

    public void ExchangedStored(ulong address, ulong instruction) => Add("stored", instruction);

    public void UserTouched(Cpu* cpu, ulong address, bool isWrite, ulong instruction) => Add("user", instruction);

    public void PageableTouched(ulong address, PageAccess access, byte irql, ulong instruction) => Add($"pageable {access}", instruction);

    public void LentTouched(ulong address, bool isWrite, ulong instruction) => Add("lent", instruction);

    public void FrameLeft(Cpu* cpu, ulong instruction) => Add("frame", instruction);

    public KernelExport? ExportAt(ulong address) => null;

    public void Returning(Cpu* cpu, KernelExport export, ulong first, ulong second) { }
}
