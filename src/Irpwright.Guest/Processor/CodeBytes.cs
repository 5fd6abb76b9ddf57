using Iced.Intel;
using Irpwright.Wdk;

namespace Irpwright.Guest.Processor;

/// <summary>Guest code for the decoder; ends at the first byte that is not executable.</summary>
/// <param name="entering">Told an address of each page before the page is read.</param>
sealed unsafe class CodeBytes(Action<ulong>? entering = null) : CodeReader
{
    ulong address, pageEnd;
    byte* host;

    public void MoveTo(ulong rip)
    {
        address = rip;
        pageEnd = rip;
    }

    public override int ReadByte()
    {
        if (address >= pageEnd)
        {
            entering?.Invoke(address);
            if (!GuestMemory.TryTranslate(address, 1, PageAccess.Execute, out host, out _)) return -1;
            pageEnd = (address | (GuestMemory.PageSize - 1)) + 1;
        }
        address++;
        return *host++;
    }
}
